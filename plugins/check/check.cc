#include "plugins/check/check.h"

#include <absl/cleanup/cleanup.h>
#include <absl/strings/str_cat.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "p2p/base/text.h"
#include "plugins/check/child.h"
#include "plugins/check/elf.h"
#include "plugins/check/file_rules.h"
#include "plugins/check/rules.h"
#include "plugins/host/file_check.h"
#include "plugins/host/loader.h"

namespace helo::plugins {
namespace {

constexpr uintmax_t kMaxFileBytes = uintmax_t{512} << 20;
constexpr int kMostTimeouts = 2;  // then the rest is not waited for

absl::StatusOr<Bytes> ReadAll(const std::string& path) {
  struct stat info {};
  if (stat(path.c_str(), &info) != 0) {
    if (errno == ENOENT) return absl::NotFoundError(absl::StrCat("there is no file ", path));
    return ErrnoStatus(errno, absl::StrCat("stat ", path));
  }
  if (!S_ISREG(info.st_mode) || static_cast<uintmax_t>(info.st_size) > kMaxFileBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " is not a file of at most 512 MiB; name the plugin's .so"));
  }
  std::ifstream file(path, std::ios::binary);
  Bytes contents(static_cast<size_t>(info.st_size));
  if (!file.read(reinterpret_cast<char*>(contents.data()), info.st_size)) {
    return ErrnoStatus(errno, absl::StrCat("read ", path));
  }
  return contents;
}

// What one child does: from the file to the rule.
void Try(const Rule& rule, Subject& subject) {
  const std::string_view name = rule.name;
  Report& report = subject.report;
  report.During("the loading of the library");
  auto mapped = MapPlugin(subject.name, subject.copy);
  if (!mapped.ok()) return report.Broken(FromAbsl(mapped.status().message()));
  report.During("");
  if (name == "file") return;
  subject.handle = mapped->handle;
  subject.query = mapped->query;
  if (name == "query") return rule.run(subject);
  report.During("helo_plugin_query");
  const helo_descriptor* descriptor = subject.query(HELO_ABI_MAJOR);
  report.During("the reading of the descriptor");
  auto manifest = CheckDescriptor(descriptor, subject.name);
  report.During("");
  if (!manifest.ok()) return report.Broken(FromAbsl(manifest.status().message()));
  subject.manifest = *std::move(manifest);
  subject.descriptor = Trace(*descriptor, report);
  rule.run(subject);
  constexpr Place kSlow = PluginH("one that takes long delays this");
  if (const Slowest slowest = TracedSlowest();
      slowest.time > std::chrono::seconds(1) && slowest.call != "stop") {
    report.Warning(
        absl::StrCat(slowest.call, " took ",
                     ToAbsl(HumanDuration(std::chrono::nanoseconds(slowest.time).count())),
                     ", in which its other peers wait (", kSlow.header, ":", kSlow.line, ")"));
  }
}

std::string HowItEnded(const ChildEnd& end, const std::string& during, Duration limit,
                       bool guarded) {
  constexpr Place kProcess = PluginH("not contained: a plugin shares");
  const std::string in = during.empty() ? " between two calls (a thread of its own?)"
                                        : absl::StrCat(" in ", QuoteRemote(during));
  const std::string said =
      end.said.empty() ? "" : absl::StrCat("; it wrote: ", QuoteRemote(end.said));
  const std::string place = absl::StrCat(" (", kProcess.header, ":", kProcess.line, ")");
  switch (end.how) {
    case ChildEnd::How::kReturned:
      return "";
    case ChildEnd::How::kTimeout:
      return absl::StrCat(
          "it did not come back", during.empty() ? "" : absl::StrCat(" from ", QuoteRemote(during)),
          " within ", ToAbsl(HumanDuration(std::chrono::nanoseconds(limit).count())));
    case ChildEnd::How::kExit:
      return absl::StrCat("the process was ended with exit code ", end.code, in,
                          ": a node would be gone", place, said);
    case ChildEnd::How::kSignal:
      if (guarded && (end.code == SIGSEGV || end.code == SIGBUS)) {
        return absl::StrCat("it crashed", in,
                            ". Here what is lent cannot be touched after the call, nor beyond its "
                            "end: a pointer was kept, or too much was read");
      }
      return absl::StrCat("it crashed (SIG", sigabbrev_np(end.code), ")", in,
                          ": a node would be gone", place, said);
    case ChildEnd::How::kNoChild:
      return ErrnoSentence(end.code, "fork");
  }
  return "";
}

class Checker {
 public:
  Checker(const std::string& file, const CheckOptions& options, std::string scratch)
      : options_(options), scratch_(std::move(scratch)), copy_(scratch_ + "/plugin.so") {
    report_.file = file;
    const std::string base = std::filesystem::path(file).filename();
    name_ = base.size() > 3 && base.substr(base.size() - 3) == ".so"
                ? base.substr(0, base.size() - 3)
                : base;
  }

  CheckReport Run(ByteView contents) {
    const absl::Status elf = CheckElf(contents, report_.file);
    ElfFacts facts;
    if (elf.ok()) facts = ReadElf(contents);
    std::ofstream(copy_, std::ios::binary)
        .write(reinterpret_cast<const char*>(contents.data()),
               static_cast<std::streamsize>(contents.size()));
    chmod(copy_.c_str(), 0500);
    for (size_t i = 0; i < kRuleCount; ++i) {
      const Rule& rule = kRules[i];
      RuleResult result;
      result.rule = rule.name;
      result.says = rule.says;
      result.header = rule.place.header;
      result.line = rule.place.line;
      if (rule.run == nullptr) {
        JudgeFile(rule.name, elf.ok(), facts, result);
      } else if (!skip_.empty()) {
        result.state = RuleState::kSkipped;
        result.found.push_back(skip_);
      } else if (result.rule == "file" && !elf.ok()) {
        Broken(result, std::string(FromAbsl(elf.message())));
      } else {
        if (result.rule == "file") JudgeNeeds(facts, QuoteRemote(name_), result);
        if (result.state != RuleState::kBroken) RunRule(rule, result);
      }
      if (result.state == RuleState::kBroken &&
          (result.rule == "file" || result.rule == "descriptor" || result.rule == "start" ||
           result.rule == "stop")) {
        skip_ = absl::StrCat("not tried: see ", result.rule);
      }
      report_.rules.push_back(std::move(result));
    }
    return report_;
  }

 private:
  void JudgeFile(const std::string& rule, bool is_elf, const ElfFacts& facts, RuleResult& result) {
    if (rule == "name") return JudgeName(name_, result);
    if (rule == "place") {
      return JudgePlace(std::filesystem::canonical(report_.file), result);
    }
    if (!is_elf) {
      result.state = RuleState::kSkipped;
      result.found.emplace_back("not tried: see file");
    } else if (rule == "exports") {
      JudgeExports(facts, result);
    } else if (rule == "protobuf") {
      JudgeProtobuf(facts, result);
    }
  }

  void RunRule(const Rule& rule, RuleResult& result) {
    // stop has a limit of its own, which is to be seen as such.
    const Duration limit =
        result.rule == "stop" ? Duration(std::chrono::milliseconds(6500)) : options_.limit;
    Report found;
    const ChildEnd end = RunInChild(scratch_, limit, [&] {
      Subject subject{found,   name_,   copy_, options_.config, options_.seed, nullptr,
                      nullptr, nullptr, {}};
      Try(rule, subject);
    });
    Report::Read read = found.TakeAll();
    const std::string ended = HowItEnded(end, read.during, limit, result.rule == "lent");
    if (!ended.empty()) Broken(result, ended);
    for (std::string& text : read.broken) Broken(result, std::move(text));
    for (std::string& text : read.warnings) Warn(result, std::move(text));
    if (end.how == ChildEnd::How::kTimeout && ++timeouts_ == kMostTimeouts) {
      skip_ = "not tried: two rules took too long already";
    }
    if (result.rule == "descriptor" && read.notes.size() == 3) {
      report_.id = read.notes[0];
      report_.version = read.notes[1];
      read.notes.erase(read.notes.begin(), read.notes.begin() + 2);
    }
    if (result.state == RuleState::kOk) result.found = std::move(read.notes);
  }

  const CheckOptions& options_;
  const std::string scratch_, copy_;
  std::string name_, skip_;
  int timeouts_ = 0;
  CheckReport report_;
};

}  // namespace

size_t CheckReport::Count(RuleState state) const {
  return static_cast<size_t>(std::count_if(
      rules.begin(), rules.end(), [&](const RuleResult& one) { return one.state == state; }));
}

absl::StatusOr<CheckReport> CheckPlugin(const std::string& file, const CheckOptions& options) {
  auto contents = ReadAll(file);
  if (!contents.ok()) return contents.status();
  const char* tmp = std::getenv("TMPDIR");
  std::string scratch =
      absl::StrCat(tmp == nullptr || *tmp == '\0' ? "/tmp" : tmp, "/helo-check-XXXXXX");
  if (mkdtemp(scratch.data()) == nullptr) return ErrnoStatus(errno, absl::StrCat("make ", scratch));
  const absl::Cleanup remove = [&scratch] {
    std::error_code ignored;
    std::filesystem::remove_all(scratch, ignored);
  };
  return Checker(file, options, scratch).Run(*contents);
}

}  // namespace helo::plugins
