// The defaults.
#include "node/config.h"

#include <utility>

#include "p2p/peers/source_limiter.h"

namespace helo::node {

Config::Config(std::string home_data_dir)
    : data_dir(std::move(home_data_dir)), admin(*Endpoint::Parse(kDefaultAdmin)) {
  plugins = {kDefaultPlugin};
  server.listen = {*ListenAddress::Parse(kDefaultListen)};
  server.sources.exempt = peers::DefaultExemptSources();
  server.profile.user_agent = "helo/" + std::string(Version());
  server.profile.times.first_ping = std::chrono::seconds(1);  // so that a list shows RTTs at once
}

std::string_view Version() { return HELO_VERSION; }

}  // namespace helo::node
