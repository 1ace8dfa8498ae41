// A running node: everything that Config asks for, started in order and stopped in the opposite
// one. Thread: Start and Stop from one; the rest from any.
#pragma once

#include <absl/status/statusor.h>

#include <functional>
#include <memory>
#include <string>

#include "node/log_sink.h"
#include "node/options.h"

namespace helo::node {

class Node {
 public:
  // Returns when listeners are bound, the admin API answers and helod.json is written. An error is
  // a sentence with cause and remedy, and leaves nothing running. `ask_to_stop` is called when the
  // admin API's Shutdown is.
  static absl::StatusOr<std::unique_ptr<Node>> Start(const Options& options, NodeLog& log,
                                                     std::function<void()> ask_to_stop);
  ~Node();  // Stop() if not done

  // Says goodbye to peers and callers and closes everything; some 3 s at most, however they behave.
  void Stop();

 private:
  struct Impl;
  explicit Node(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace helo::node
