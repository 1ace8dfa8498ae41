// What a learner asks: short pages on file descriptors, sockets and their ends, each with the
// commands that show it live on this machine. One table, topics.cc; a test holds every command of
// helo named there to one that exists. Thread: any; immutable.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "p2p/base/reasons.h"

namespace helo::tool {

struct TopicCommand {
  std::string_view command;  // as typed
  std::string_view shows;
};

struct Topic {
  std::string_view name;
  std::vector<std::string_view> also;  // other names of it
  std::string_view title;
  std::vector<std::string_view> paragraphs;
  std::vector<TopicCommand> commands;
  std::vector<Reason> reasons;        // that it explains the ground of
  std::vector<std::string_view> see;  // other topics
};

const std::vector<Topic>& Topics();
// By name or other name, any case; nullptr if there is none.
const Topic* FindTopic(std::string_view name);
// Names of topics and labels of reasons that look like `word`, nearest first; at most three.
std::vector<std::string> NearestTopics(std::string_view word);

}  // namespace helo::tool
