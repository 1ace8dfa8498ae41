// Runs a small world through every order of its events. A world is a deterministic machine: given
// the same choices it does the same things, so a state is reached again by making it anew and
// repeating the choices. Two orders of events that no node can tell apart lead to one state, which
// is followed once (World::Digest). Owner: one test. Thread: the test's.
#pragma once

#include <absl/container/flat_hash_set.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace helo::sim {

class World {
 public:
  virtual ~World() = default;
  // How many events may happen next; 0: the exploration of this branch is over.
  virtual size_t Choices() const = 0;
  virtual void Choose(size_t choice) = 0;
  virtual std::string Describe(size_t choice) const = 0;
  // Equal for two states if what every node has seen, and what is cut, is equal.
  virtual std::pair<uint64_t, uint64_t> Digest() const = 0;
  // Called after every event; a sentence if something is wrong.
  virtual std::string Check() const = 0;
  // Called where Choices() is 0: lets everything that is left happen, and tells what is wrong then.
  virtual std::string Finish() = 0;
  virtual std::string DescribeState() const = 0;
};

struct Exploration {
  uint64_t states = 0;  // different ones
  uint64_t endings = 0;
  size_t deepest = 0;
  bool truncated = false;  // the depth limit was met
  std::string failure;     // empty, or what is wrong and the schedule that leads there
};

inline std::string Schedule(const std::function<std::unique_ptr<World>()>& make,
                            const std::vector<size_t>& choices) {
  std::unique_ptr<World> world = make();
  std::string text;
  for (size_t i = 0; i < choices.size(); ++i) {
    text += "\n  " + std::to_string(i + 1) + ". " + world->Describe(choices[i]);
    world->Choose(choices[i]);
  }
  return text + "\n  then: " + world->DescribeState();
}

inline Exploration Explore(const std::function<std::unique_ptr<World>()>& make, size_t max_depth) {
  Exploration result;
  absl::flat_hash_set<std::pair<uint64_t, uint64_t>> seen;
  std::vector<size_t> choices;  // the branch
  std::vector<size_t> widths;   // how many choices there were at each step of it
  const auto fail = [&](const std::string& what) {
    result.failure = what + "\nSchedule:" + Schedule(make, choices);
  };
  for (;;) {
    std::unique_ptr<World> world = make();
    for (size_t choice : choices) world->Choose(choice);
    // Behind the choices that are given, always the first one, until the branch ends.
    for (;;) {
      if (const std::string wrong = world->Check(); !wrong.empty()) {
        fail(wrong);
        return result;
      }
      if (!seen.insert(world->Digest()).second) break;
      ++result.states;
      result.deepest = std::max(result.deepest, choices.size());
      const size_t width = world->Choices();
      if (width == 0) {
        ++result.endings;
        if (const std::string wrong = world->Finish(); !wrong.empty()) {
          fail(wrong + "\nAt the end: " + world->DescribeState());
          return result;
        }
        break;
      }
      if (choices.size() >= max_depth) {
        result.truncated = true;
        break;
      }
      choices.push_back(0);
      widths.push_back(width);
      world->Choose(0);
    }
    while (!choices.empty() && choices.back() + 1 >= widths.back()) {
      choices.pop_back();
      widths.pop_back();
    }
    if (choices.empty()) return result;
    ++choices.back();
  }
}

}  // namespace helo::sim
