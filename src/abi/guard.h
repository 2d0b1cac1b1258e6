// What every function of the C interface shares: errors turned into codes and one line per thread, no exception passes.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "formats/format.h"
#include "model/model.h"
#include "quant.h"

// Shared by the files of models and of sessions.
struct quant_model {
    std::shared_ptr<const quant::Model> model;
    std::string description;
};

namespace quant::abi {

// Runs the body; its error, or running out of memory, becomes the thread's last error and the code returned.
quant_status guarded(const std::function<Status()>& body);
const char* last_error();
Error missing(const char* what);  // "what is NULL"

Status check_threads(int32_t threads);

inline const Format* format_behind(const quant_format* format) { return reinterpret_cast<const Format*>(format); }
inline const quant_format* handle_of(const Format* format) { return reinterpret_cast<const quant_format*>(format); }

}  // namespace quant::abi
