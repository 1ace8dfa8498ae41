// What the file alone shows: its name, who may write it, what it exports and what it needs.
// Private to plugins/check.
#pragma once

#include <string>

#include "plugins/check/check.h"
#include "plugins/check/elf.h"

namespace helo::plugins {

// `path` is absolute. Each adds to what was found and raises the state.
void JudgeName(const std::string& name, RuleResult& result);
void JudgePlace(const std::string& path, RuleResult& result);
void JudgeNeeds(const ElfFacts& facts, const std::string& name, RuleResult& result);
void JudgeExports(const ElfFacts& facts, RuleResult& result);
void JudgeProtobuf(const ElfFacts& facts, RuleResult& result);

void Broken(RuleResult& result, std::string words);
void Warn(RuleResult& result, std::string words);

}  // namespace helo::plugins
