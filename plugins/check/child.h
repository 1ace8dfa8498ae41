// A child process with a time limit, and what it found, in memory that both see: what is written
// there survives however the child ends. Private to plugins/check.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "p2p/base/clock.h"

namespace helo::plugins {

struct Finding {
  bool broken = false;  // else a warning
  std::string text;
};

// Written by the child, from any of its threads; read by the parent when it has ended.
class Report {
 public:
  Report();
  ~Report();
  Report(const Report&) = delete;
  Report& operator=(const Report&) = delete;

  void Broken(std::string_view text) { Add('B', text); }
  void Warning(std::string_view text) { Add('W', text); }
  void Note(std::string_view text) { Add('N', text); }  // a word to what is well
  // What is being done, for the sentence if it does not come back from that; cut at 120 bytes.
  void During(std::string_view what);

  struct Read {
    std::vector<std::string> broken, warnings, notes;
    std::string during;
  };
  Read TakeAll() const;

 private:
  struct Shared;
  void Add(char kind, std::string_view text);
  Shared* shared_;
};

struct ChildEnd {
  enum class How : uint8_t { kReturned, kExit, kSignal, kTimeout, kNoChild };
  How how = How::kReturned;
  int code = 0;      // of kExit, the signal of kSignal, errno of kNoChild
  std::string said;  // the last line that it wrote to stderr
};
// Runs `body` in a child, whose stdin and stdout are /dev/null and whose stderr goes to a file in
// `scratch`. Whatever the child has started ends with it.
ChildEnd RunInChild(const std::string& scratch, Duration limit, const std::function<void()>& body);

}  // namespace helo::plugins
