// SIGINT, SIGTERM and SIGHUP set a flag that long loops poll; a second one kills at once. SIGPIPE is ignored.
// SIGBUS (a mapped file was cut short) prints one line and ends with code 3. Installed by main only.
#pragma once

namespace quant {

void install_signal_handlers();
int pending_signal();        // 0 when none came
void clear_pending_signal();  // for a chat that survives Ctrl-C
inline bool interrupted() { return pending_signal() != 0; }

}  // namespace quant
