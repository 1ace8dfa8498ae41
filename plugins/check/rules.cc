// Long because it is one list: every rule with what it tries.
#include "plugins/check/rules.h"

#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>
#include <dirent.h>
#include <dlfcn.h>
#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <set>
#include <thread>
#include <utility>

#include "p2p/base/text.h"
#include "plugins/check/drive.h"

namespace helo::plugins {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using testing::FakeHost;

std::set<std::string> Listing(const char* path) {
  std::set<std::string> names;
  DIR* dir = opendir(path);
  if (dir == nullptr) return names;
  const std::string own = std::to_string(dirfd(dir));
  while (const dirent* entry = readdir(dir)) {
    if (entry->d_name[0] != '.' && entry->d_name != own) names.insert(entry->d_name);
  }
  closedir(dir);
  return names;
}
std::set<std::string> Threads() { return Listing("/proc/self/task"); }
std::set<std::string> Fds() { return Listing("/proc/self/fd"); }

std::vector<std::string> Beyond(const std::set<std::string>& now,
                                const std::set<std::string>& then) {
  std::vector<std::string> more;
  std::set_difference(now.begin(), now.end(), then.begin(), then.end(), std::back_inserter(more));
  return more;
}
// A thread that was joined is in the listing for a moment yet.
std::vector<std::string> ThreadsBeyond(const std::set<std::string>& then) {
  for (int i = 0;; ++i) {
    std::vector<std::string> more = Beyond(Threads(), then);
    if (more.empty() || i == 100) return more;
    std::this_thread::sleep_for(milliseconds(5));
  }
}
std::string NamesOf(const std::vector<std::string>& threads) {
  std::vector<std::string> names;
  for (const std::string& tid : threads) {
    std::ifstream file(absl::StrCat("/proc/self/task/", tid, "/comm"));
    std::string name;
    std::getline(file, name);
    names.push_back(absl::StrCat(tid, " \"", QuoteRemote(name), "\""));
  }
  return absl::StrJoin(names, ", ");
}
std::string TargetsOf(const std::vector<std::string>& fds) {
  std::vector<std::string> names;
  for (const std::string& fd : fds) {
    char target[256];
    const ssize_t size =
        readlink(absl::StrCat("/proc/self/fd/", fd).c_str(), target, sizeof(target));
    names.push_back(absl::StrCat(
        fd, " (", size > 0 ? QuoteRemote({target, static_cast<size_t>(size)}) : "?", ")"));
  }
  return absl::StrJoin(names, ", ");
}
// Exact only when no thread of this process has freed blocks in a cache of its own: so what is
// measured is run by InThread, whose cache goes with it.
size_t HeapInUse() {
  const struct mallinfo2 info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

template <typename F>
void InThread(F&& body) {
  std::thread(std::forward<F>(body)).join();
}

void OneLife(Subject& s, size_t messages) {
  Drive drive(s);
  if (drive.Run()) drive.Work(messages);
}

// Called with whatever query gives, before the descriptor is judged.
void Query(Subject& s) {
  const auto threads = Threads();
  const auto fds = Fds();
  s.report.During("helo_plugin_query");
  const helo_descriptor* first = s.query(HELO_ABI_MAJOR);
  const size_t heap = HeapInUse();
  for (int i = 0; i < 1000; ++i) {
    if (s.query(HELO_ABI_MAJOR) == first) continue;
    s.report.Broken("it gives another pointer at another call");
    return;
  }
  if (HeapInUse() > heap + 1000) {
    s.report.Broken(
        absl::StrCat("a thousand calls took ", HeapInUse() - heap, " bytes of the heap"));
  }
  for (const uint32_t major : {0U, HELO_ABI_MAJOR + 1, UINT32_MAX}) {
    if (s.query(major) != nullptr) continue;
    s.report.Broken(absl::StrCat("asked for ABI ", major,
                                 " it gives NULL, and not the descriptor that it has, so that no "
                                 "refusal can name both versions"));
  }
  if (const auto more = Beyond(Threads(), threads); !more.empty()) {
    s.report.Broken(absl::StrCat("it started the thread ", NamesOf(more)));
  }
  if (const auto more = Beyond(Fds(), fds); !more.empty()) {
    s.report.Broken(absl::StrCat("it opened ", TargetsOf(more)));
  }
  std::vector<std::thread> callers;
  callers.reserve(4);
  for (int i = 0; i < 4; ++i) {
    callers.emplace_back([&] {
      for (int n = 0; n < 1000; ++n) {
        if (s.query(HELO_ABI_MAJOR) != first)
          s.report.Broken("it gives another pointer to threads");
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
}

void Descriptor(Subject& s) {
  std::vector<std::string> protocols;
  for (const Capability& one : s.manifest.protocols) {
    protocols.push_back(absl::StrCat(one.name, "/", one.version));
  }
  s.report.Note(s.manifest.id);
  s.report.Note(s.manifest.version);
  s.report.Note(absl::StrCat(s.manifest.id, " ", s.manifest.version, ", speaks ",
                             protocols.empty() ? "no protocol" : absl::StrJoin(protocols, ", ")));
}

// Not stopped again: that is the next rule's.
void Starts(Subject& s) {
  Drive* drive = std::make_unique<Drive>(s).release();
  if (!drive->Run()) return drive->End();
  std::vector<std::string> commands;
  for (const CommandInfo& one : TracedCommands()) commands.push_back(one.name);
  if (!commands.empty()) s.report.Note(absl::StrCat("commands: ", absl::StrJoin(commands, ", ")));
}

void TwoLives(Subject& s) {
  OneLife(s, 50);
  OneLife(s, 50);
  Drive never_started(s);
  if (never_started.host().Create()) never_started.host().Stop();
}

void RefusedConfig(Subject& s) {
  const std::vector<std::string> odd = {"no-such-setting-of-any-plugin = 1\n",
                                        std::string("\xff\xfe\0garbage", 10), "= = =\n[x\n",
                                        std::string(size_t{1} << 20, 'a')};
  size_t refused = 0;
  const auto threads = Threads();
  const auto fds = Fds();
  for (const std::string& config : odd) {
    const auto create = [&] {
      FakeHost::Options options;
      options.config = config;
      Drive drive(s, options);
      if (drive.Run(/*may_refuse=*/true)) return;
      ++refused;
    };
    constexpr size_t kTimes = 50;
    const auto many = [&] {
      for (size_t i = 0; i < kTimes; ++i) create();
    };
    InThread(many);
    const size_t heap = HeapInUse();
    InThread(many);
    const size_t now = HeapInUse();
    if (now > heap + kTimes * 16) {
      s.report.Warning(
          absl::StrCat("each try leaves about ", (now - heap) / kTimes, " bytes of the heap"));
    }
  }
  if (refused == 0) s.report.Note("it takes any configuration: there was no failure to see");
  if (const auto more = ThreadsBeyond(threads); !more.empty()) {
    s.report.Broken(
        absl::StrCat("after creates that failed the thread ", NamesOf(more), " is left"));
  }
  if (const auto more = Beyond(Fds(), fds); !more.empty()) {
    s.report.Broken(absl::StrCat("after creates that failed ", TargetsOf(more), " is left open"));
  }
}

void SizesAtTheEnds(Subject& s) {
  Drive drive(s);
  if (!drive.Run()) return;
  size_t left = size_t{256} << 20;  // of the largest messages, in all
  for (uint32_t protocol = 0; protocol < drive.protocols(); ++protocol) {
    const size_t most = drive.MaxBytes(protocol);
    for (const uint32_t type : drive.Types(protocol)) {
      if (!drive.running()) return;
      drive.host().Message(drive.Peer(protocol), type, "");
      if (most > left) continue;
      left -= most;
      drive.host().Message(drive.Peer(protocol), type, drive.Random(most));
      drive.host().Message(drive.Peer(protocol), type, std::string(most, '\0'));
      drive.Read();
    }
  }
}

void RandomBytes(Subject& s) {
  Drive drive(s);
  if (!drive.Run()) return;
  drive.CallCommands({"sample"});
  drive.SendOdd(4000);
}

void ManySessions(Subject& s) {
  Drive drive(s);
  if (!drive.Run() || drive.protocols() == 0) return;
  std::vector<helo_session> open;
  for (uint32_t i = 0; i < 1000; ++i) {
    open.push_back(drive.Open(i % drive.protocols()));
    if (i % 10 == 9) drive.Read();
  }
  for (size_t i = 0; i < open.size(); ++i) {  // not in their order
    const helo_session session = open[i * 617 % open.size()];
    drive.host().Message(session, 0, i % 2 == 0 ? "" : "x");
    drive.host().Close(session, static_cast<int32_t>(i % 60));
  }
  for (uint32_t i = 0; i < 1000; ++i) drive.host().Close(drive.Open(i % drive.protocols()));
}

void FullQueues(Subject& s) {
  for (const size_t quota : {size_t{1}, size_t{1} << 20}) {
    FakeHost::Options options;
    options.quota_bytes = quota;
    Drive drive(s, options);
    if (!drive.Run()) return;
    for (int round = 0; round < 20; ++round) {
      std::vector<helo_session> peers;
      for (uint32_t protocol = 0; protocol < drive.protocols(); ++protocol) {
        peers.push_back(drive.Peer(protocol));
        drive.host().Block(peers.back());
      }
      drive.SendOdd(50);
      drive.CallCommands({"one"});
      drive.host().Advance(seconds(1));
      for (const helo_session peer : peers) drive.host().Unblock(peer);
      drive.SendOdd(10);
      drive.Read();
    }
  }
}

void OtherThreads(Subject& s) {
  FakeHost::Options options;
  options.rotate_threads = true;
  Drive drive(s, options);
  if (drive.Run()) drive.Work(300);
}

void OlderHost(Subject& s) {
  for (int absent = 0; absent < 4; ++absent) {
    FakeHost::Options options;
    options.timers = absent != 0 && absent != 1;
    options.commands = absent != 0 && absent != 2;
    options.peers = absent != 0 && absent != 3;
    Drive drive(s, options);
    const char* without[] = {"any of them", HELO_EXT_TIMER, HELO_EXT_COMMAND, HELO_EXT_PEERS};
    if (drive.Run(/*may_refuse=*/true)) {
      drive.Work(60);
    } else {
      s.report.Warning(absl::StrCat("it does not run on a node without ", without[absent], ": ",
                                    drive.WhyNot()));
    }
  }
}

void Timers(Subject& s) {
  Drive drive(s);
  if (!drive.Run()) return;
  for (uint32_t protocol = 0; protocol < drive.protocols(); ++protocol) drive.Peer(protocol);
  for (int i = 0; i < 100; ++i) drive.host().Advance(milliseconds(1));
  for (int i = 0; i < 120; ++i) drive.host().Advance(seconds(1));
  drive.SendOdd(20);
  for (int i = 0; i < 60; ++i) drive.host().Advance(minutes(1));
  drive.host().Advance(std::chrono::hours(24));
}

// On the host's clock, which this moves, and a second of the machine's.
bool Answered(Drive& drive, uint64_t call) {
  const auto until = std::chrono::steady_clock::now() + seconds(1);
  for (int i = 0; !drive.host().TakeAnswer(call).has_value(); ++i) {
    if (i > 60 && std::chrono::steady_clock::now() > until) return false;
    drive.host().Advance(seconds(1));
    drive.Read();
    drive.host().WaitPosted(milliseconds(i > 60 ? 20 : 1));
  }
  return true;
}

void Commands(Subject& s) {
  Drive drive(s);
  drive.JudgeAnswers();
  if (!drive.Run()) return;
  const std::vector<CommandInfo>& commands = TracedCommands();
  if (commands.empty()) s.report.Note("it has no commands");
  for (uint32_t protocol = 0; protocol < drive.protocols(); ++protocol) drive.Peer(protocol);
  const std::vector<std::vector<std::string>> lists = {
      {},
      {""},
      {"x"},
      {"-1"},
      {"18446744073709551616"},
      {"1", "2", "3"},
      {"\xff\xfe\n\x1b[31m"},
      {std::string(4096, '0')},
      {std::string(size_t{1} << 19, 'a'), std::string("\0", 1)},
      std::vector<std::string>(64, "many")};
  for (const CommandInfo& command : commands) {
    for (const std::vector<std::string>& arguments : lists) {
      const uint64_t call = drive.host().BeginCommand(command.name, arguments);
      if (call == 0 || Answered(drive, call)) continue;
      s.report.Broken(absl::StrCat("the command ", command.name, " with ", arguments.size(),
                                   arguments.size() == 1 ? " argument" : " arguments",
                                   " has no answer after 60 s of the node's clock"));
      break;
    }
  }
}

// With sessions open and nothing said yet: what messages do is for later rules.
void StopsInTime(Subject& s) {
  constexpr Duration kMost = seconds(5);
  Drive drive(s);
  if (!drive.Run()) return;
  if (drive.protocols() > 0) {
    for (uint32_t i = 0; i < 100; ++i) drive.Open(i % drive.protocols());
  }
  drive.End();
  const Duration took = TracedStop();
  const std::string words =
      absl::StrCat("stop took ", ToAbsl(HumanDuration(std::chrono::nanoseconds(took).count())));
  if (took > kMost) {
    s.report.Broken(absl::StrCat(words, ": the node gives up after 5 s"));
  } else if (took > seconds(1)) {
    s.report.Warning(absl::StrCat(words, " of the 5 s that it may take"));
  }
}

// One life first: what a library keeps for all that follow is not the instance's.
void NoThreadLeft(Subject& s) {
  const auto before = Threads();
  OneLife(s, 50);
  OneLife(s, 50);
  if (const auto more = ThreadsBeyond(before); !more.empty()) {
    s.report.Broken(absl::StrCat("after destroy there is the thread ", NamesOf(more)));
  }
}

void NoFdLeft(Subject& s) {
  const auto before = Fds();
  OneLife(s, 50);
  const auto once = Fds();
  OneLife(s, 50);
  const auto twice = Fds();
  if (const auto more = Beyond(twice, once); !more.empty()) {
    s.report.Broken(absl::StrCat("each life leaves open ", TargetsOf(more)));
  } else if (const auto kept = Beyond(twice, before); !kept.empty()) {
    s.report.Warning(absl::StrCat("the first life leaves open, once, ", TargetsOf(kept)));
  }
}

void NoMemoryLeft(Subject& s) {
  constexpr size_t kLives = 5;
  const auto lives = [&s] {
    for (size_t i = 0; i < kLives; ++i) OneLife(s, 200);
  };
  InThread(lives);
  const size_t before = HeapInUse();
  InThread(lives);
  const size_t after = HeapInUse();
  if (after > before + kLives * 64) {
    s.report.Warning(
        absl::StrCat("each life leaves about ", (after - before) / kLives,
                     " bytes of the heap; its tests with -fsanitize=address say whose"));
  }
}

void Unloads(Subject& s) {
  OneLife(s, 100);
  if (!s.manifest.unloadable()) {
    s.report.Note("it does not set HELO_F_UNLOADABLE: its code stays until the node ends");
    return;
  }
  s.report.During("dlclose");
  dlclose(s.handle);
  s.report.During("the unloaded code: something of it still ran");
  std::this_thread::sleep_for(milliseconds(50));
  if (dlopen(s.copy.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD) != nullptr) {
    s.report.Broken(
        "it sets HELO_F_UNLOADABLE and stays mapped all the same: a GNU_UNIQUE symbol, a "
        "thread-local destructor or -z nodelete keeps it; build it with -fno-gnu-unique and "
        "-fvisibility=hidden");
  }
}

void KeepsNothingLent(Subject& s) {
  FakeHost::Options options;
  options.guard_lent = true;
  Drive drive(s, options);
  if (!drive.Run()) return;
  for (int i = 0; i < 5; ++i) drive.Work(100);
  drive.CallCommands({"a", "b"});
  drive.host().Advance(minutes(5));
}

}  // namespace

const Rule kRules[] = {
    {"name", "its file's name is one that an operator can call it by",
     PluginH("operators call a plugin by its file's name"), nullptr},
    {"place", "nobody else can write the file", PluginH("is writable by nobody but root"), nullptr},
    {"exports", "exports helo_plugin_query and nothing else",
     PluginH("with one exported function, helo_plugin_query"), nullptr},
    {"protobuf", "brings no registry of .proto files into the node",
     PluginH("no type of the project, of protobuf"), nullptr},
    {"file", "is a shared object of this machine and can be mapped",
     PluginH("HELO_EXPORT const helo_descriptor* helo_plugin_query"), [](Subject&) {}},
    {"query", "helo_plugin_query is pure, and answers every major",
     PluginH("Pure: no allocation, thread or file"), Query},
    {"descriptor", "the descriptor is well-formed", PluginH("typedef struct helo_descriptor {"),
     Descriptor},
    {"start", "it starts", PluginH("helo_status (*start)(helo_plugin*)"), Starts},
    {"stop", "stop returns within 5 s", PluginH("join your own threads here: 5 s"), StopsInTime},
    {"lives", "lives twice in one process, and may be created and not started",
     PluginH("An instance: create start (open message*"), TwoLives},
    {"refusal", "a create that fails says why and leaves nothing behind",
     PluginH("On failure *out is not looked at and nothing may be left behind"), RefusedConfig},
    {"sizes", "takes messages of every type, empty and as large as may be",
     PluginH("1 to 65535: types 0 to count-1"), SizesAtTheEnds},
    {"random", "bytes that mean nothing are the peer's fault, not the plugin's",
     PluginH("The verdict of on_message speaks of the peer"), RandomBytes},
    {"sessions", "a thousand sessions open and close", PluginH("exactly one close for each open"),
     ManySessions},
    {"full", "takes AGAIN, and messages between it and on_writable",
     PluginH("after AGAIN: half of the quota is free again"), FullQueues},
    {"threads", "each call may come from another thread", PluginH("Not always by the same"),
     OtherThreads},
    {"older-host", "runs where the node has no extensions",
     PluginH("each may be absent: test for NULL"), OlderHost},
    {"timers", "a day of timers", ExtensionsH("timers of one shot that fire on [plugin]"), Timers},
    {"commands", "every command answers exactly once, whatever its arguments",
     ExtensionsH("Owes one answer, now or later"), Commands},
    {"threads-left", "no thread is left after destroy", PluginH("the last call into the instance"),
     NoThreadLeft},
    {"fds-left", "no file descriptor is left after destroy",
     PluginH("the last call into the instance"), NoFdLeft},
    {"memory-left", "no memory is left after destroy", PluginH("Who allocates frees"),
     NoMemoryLeft},
    {"unload", "can be unmapped if it says so", PluginH("the author vouches for dlclose"), Unloads},
    {"lent", "keeps no pointer to what was lent, and reads no further",
     PluginH("Bytes and strings are borrowed until the call returns"), KeepsNothingLent},
};
const size_t kRuleCount = std::size(kRules);

}  // namespace helo::plugins
