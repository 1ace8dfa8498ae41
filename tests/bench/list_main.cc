// helo-list: how long a connected client of the admin API waits for the whole list of peers, page
// after page, without the start of a program and without rendering. Prints one line of JSON.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "helo/admin/v1/admin.pb.h"
#include "p2p/base/text.h"
#include "rpc/client/admin_client.h"
#include "tests/bench/report.h"

namespace {

int Fail(const std::string& text) {
  std::fprintf(stderr, "helo-list: %s\n", text.c_str());
  return 1;
}

// The number of peers, or why there is no list.
absl::StatusOr<size_t> ListAll(helo::client::AdminClient& client, int page_size) {
  helo::admin::v1::ListPeersRequest request;
  request.set_page_size(page_size);
  size_t peers = 0;
  do {
    const auto page = client.ListPeers(request);
    if (!page.ok()) return page.status();
    peers += static_cast<size_t>(page->peers_size());
    request.set_page_token(page->next_page_token());
  } while (!request.page_token().empty());
  return peers;
}

int Main(int argc, char** argv) {
  CLI::App app("Times the list of peers as a connected client sees it.", "helo-list");
  std::string data_dir;
  int count = 9;
  int page_size = 500;
  app.add_option("--data-dir", data_dir, "the node's")->required();
  app.add_option("--count", count, "how many lists")->check(CLI::Range(1, 10000));
  app.add_option("--page-size", page_size, "peers a page")->check(CLI::Range(1, 500));
  CLI11_PARSE(app, argc, argv);

  helo::client::FindOptions options;
  options.data_dir = data_dir;
  const auto target = helo::client::FindNode(options, helo::client::ProcessEnvironment());
  if (!target.ok()) return Fail(std::string(target.status().message()));
  auto client = helo::client::AdminClient::Connect(*target, std::chrono::seconds(60));
  if (!client.ok()) return Fail(std::string(client.status().message()));
  std::vector<double> milliseconds;
  size_t peers = 0;
  for (int i = 0; i < count; ++i) {
    const auto began = std::chrono::steady_clock::now();
    const auto got = ListAll(**client, page_size);
    if (!got.ok()) return Fail(std::string(got.status().message()));
    peers = *got;
    milliseconds.push_back(
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - began)
            .count());
  }
  const helo::load::Percentiles of = helo::load::PercentilesOf(std::move(milliseconds));
  const nlohmann::ordered_json line = {
      {"peers", peers}, {"lists", of.samples}, {"p50_ms", of.p50}, {"max_ms", of.max}};
  std::printf("%s\n", line.dump().c_str());
  return 0;
}

}  // namespace

int main(int argc, char** argv) { return Main(argc, argv); }
