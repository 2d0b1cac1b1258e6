// The program's signal handlers. Handlers only touch a flag or call async-signal-safe functions.
#include "base/signals.h"

#include <csignal>
#include <cstring>
#include <initializer_list>

#include <unistd.h>

namespace quant {
namespace {

volatile std::sig_atomic_t pending = 0;

void on_stop(int signal) {
    if (pending != 0) {  // the second time: the user does not want to wait
        std::signal(signal, SIG_DFL);
        ::raise(signal);
        return;
    }
    pending = signal;
}

void on_bus_error(int) {
    static constexpr char kText[] = "quant: a file was cut short while it was being read\n";
    const auto ignored = ::write(2, kText, sizeof kText - 1);
    static_cast<void>(ignored);
    ::_exit(3);
}

void handle(int signal, void (*handler)(int)) {
    struct sigaction action;
    std::memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    sigemptyset(&action.sa_mask);
    // No SA_RESTART: a blocked read of the keyboard returns, so that the flag is seen.
    ::sigaction(signal, &action, nullptr);
}

}  // namespace

void install_signal_handlers() {
    for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
        struct sigaction current;
        // nohup and shells' background jobs start us with the signal ignored: that is kept.
        if (::sigaction(signal, nullptr, &current) == 0 && current.sa_handler == SIG_IGN) continue;
        handle(signal, on_stop);
    }
    handle(SIGPIPE, SIG_IGN);
    handle(SIGXFSZ, SIG_IGN);  // a file size limit becomes a failed write
    handle(SIGBUS, on_bus_error);
}

int pending_signal() { return pending; }
void clear_pending_signal() { pending = 0; }

}  // namespace quant
