// A plugin for tests with real nodes, built more than once so that one file can take another's
// place: SWAP_VERSION tells the builds apart, SWAP_MESSAGES is what the two sides of a connection
// may count differently.
//
// Configuration: fail_while = PATH: the constructor refuses as long as that file is there.
#include <unistd.h>

#include <stdexcept>
#include <string>

#include "helo/config.hpp"
#include "helo/plugin.hpp"

namespace {

class Swap final : public helo::Plugin {
 public:
  static constexpr helo::About kAbout = {"org.helo.test.swap", SWAP_VERSION,
                                         "one of several builds", HELO_F_UNLOADABLE};
  static constexpr helo_protocol kProtocols[] = {helo::Protocol("swap", 1, SWAP_MESSAGES, 1024)};
  static constexpr helo_command kCommands[] = {helo::Command("which", "", "which build this is")};

  Swap(const helo::Host& host, std::string_view text) : Plugin(host) {
    helo::Config config(text);
    const std::string path = config.Text("fail_while").value_or("");
    config.RejectOthers();
    if (!path.empty() && access(path.c_str(), F_OK) == 0) {
      throw std::runtime_error("there is still a " + path);
    }
  }
  void OnCommand(const helo::Call& call, uint32_t /*command*/, helo::Arguments /*args*/) override {
    call.Answer("this is " SWAP_VERSION "\n");
  }
};

}  // namespace

HELO_PLUGIN(Swap);
