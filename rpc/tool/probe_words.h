// What a probe's report means: a name for what was found, what happened, the likely cause and the
// remedy, in words. Pure: text from values; what a remote wrote is quoted here.
#pragma once

#include <string>

#include "rpc/tool/probe.h"

namespace helo::tool {

struct ProbeWords {
  std::string finding;  // "closed-port": for scripts; stable
  std::string sentence, cause, remedy;
};

ProbeWords ExplainProbe(const PeerAddress& asked, const ProbeReport& report);

// "a web server", "an SSH server" ...; empty if these first bytes say nothing.
std::string WhatSpeaks(ByteView first_bytes);

}  // namespace helo::tool
