// libFuzzer: one session from a string of bytes. See session_driver.h.
#include "session_driver.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  helo::wire::fuzz::DriveSession(data, size);
  return 0;
}
