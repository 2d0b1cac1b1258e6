// Errors of the C interface.
#include "abi/guard.h"

#include <cstdio>
#include <new>
#include <stdexcept>

#include "base/log.h"
#include "base/threads.h"

namespace quant::abi {

namespace {

// A fixed buffer: reporting that memory is out must not need any.
thread_local char last_error_text[2048] = "";

quant_status report(quant_status status, const char* text) {
    std::snprintf(last_error_text, sizeof last_error_text, "%s", text);
    return status;
}

}  // namespace

const char* last_error() { return last_error_text; }

quant_status guarded(const std::function<Status()>& body) {
    try {
        const Status status = body();
        if (status.ok()) return QUANT_OK;
        return report(static_cast<quant_status>(status.error().code), status.error().text.c_str());
    } catch (const std::bad_alloc&) {
        return report(QUANT_MEMORY, "out of memory");
    } catch (const std::length_error&) {
        return report(QUANT_MEMORY, "out of memory: a size beyond all limits");
    } catch (const std::exception& error) {
        return report(QUANT_IO, error.what());  // the system refuses to start a thread
    }
}

Error missing(const char* what) { return usage_error(std::string(what) + " is NULL"); }

Status check_threads(int32_t threads) {
    if (threads >= 0 && threads <= kMaxThreads) return {};
    return usage_error(format_text("threads: expected 0 to %d, found %d", kMaxThreads, threads));
}

}  // namespace quant::abi
