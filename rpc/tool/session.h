// One run of the tool: where it prints, what was asked of every command, and how failures end it.
#pragma once

#include <absl/status/statusor.h>

#include <functional>
#include <memory>
#include <ostream>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "p2p/base/clock.h"
#include "rpc/client/admin_client.h"
#include "rpc/client/errors.h"
#include "rpc/client/find_node.h"
#include "rpc/tool/render.h"

namespace helo::tool {

// What the process finds around it; tests bring their own.
struct Environment {
  std::ostream* out = nullptr;
  std::ostream* err = nullptr;
  client::Getenv getenv;
  Style style;  // of out
  std::function<int64_t()> now_unix_us;
  std::string own_directory;  // where this binary lies, to find helod beside it
};

struct Globals {
  client::FindOptions find;
  Duration timeout = client::kDefaultTimeout;
  bool json = false;
};

class Session {
 public:
  Session(const Environment& env, Globals globals) : env_(env), globals_(std::move(globals)) {}

  const Environment& env() const { return env_; }
  const Globals& globals() const { return globals_; }
  bool json() const { return globals_.json; }
  View view(bool wide = false) const { return {env_.style, env_.now_unix_us(), wide}; }

  absl::StatusOr<std::unique_ptr<client::AdminClient>> Connect() const;

  // The one result of a command: `text` for people, or `document` with --json.
  client::Exit Answer(client::Exit exit, const std::string& text,
                      const nlohmann::ordered_json& document) const;
  // A sentence on stderr, with --json an {"error": ...} document on stdout too.
  client::Exit Fail(const absl::Status& status) const;
  void Print(std::string_view text) const;  // to out, at once
  void Note(std::string_view text) const;   // to err

 private:
  const Environment& env_;
  Globals globals_;
};

}  // namespace helo::tool
