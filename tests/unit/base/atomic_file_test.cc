// Files that must survive and the directory that belongs to one process, on the real file system.
#include "p2p/base/atomic_file.h"

#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>
#include <dirent.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace helo {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class AtomicFile : public ::testing::Test {
 protected:
  AtomicFile() {
    std::string pattern = ::testing::TempDir() + "/helo-base-XXXXXX";
    dir_ = mkdtemp(pattern.data());
  }
  ~AtomicFile() override { std::filesystem::remove_all(dir_); }

  std::string Path(const std::string& name) const { return dir_ + "/" + name; }
  static unsigned ModeOf(const std::string& path) {
    struct stat info {};
    EXPECT_EQ(stat(path.c_str(), &info), 0) << path;
    return info.st_mode & 07777U;
  }
  static std::vector<std::string> Names(const std::string& dir) {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(dir))
      names.push_back(entry.path().filename());
    std::sort(names.begin(), names.end());
    return names;
  }
  static void WritePlain(const std::string& path, const std::string& text) {
    std::ofstream(path) << text;
  }

  std::string dir_;
};

TEST_F(AtomicFile, IsWrittenWholeWithItsModeAndLeavesNothingBeside) {
  const mode_t before = umask(0077);
  ASSERT_TRUE(WriteFileAtomically(Path("a"), "one", 0600).ok());
  ASSERT_TRUE(WriteFileAtomically(Path("b"), std::string(3'000'000, 'x'), 0644).ok());
  umask(before);
  EXPECT_EQ(ModeOf(Path("a")), 0600u);
  EXPECT_EQ(ModeOf(Path("b")), 0644u) << "the mode asked for, whatever the umask";
  EXPECT_EQ(ReadWholeFile(Path("b"), 3'000'000)->size(), 3'000'000u);
  ASSERT_TRUE(WriteFileAtomically(Path("a"), "two", 0600).ok());
  EXPECT_EQ(*ReadWholeFile(Path("a"), 100), "two");
  EXPECT_THAT(Names(dir_), ElementsAre("a", "b"));
}

TEST_F(AtomicFile, AFailedWriteLeavesTheOldFileAndSaysWhy) {
  ASSERT_EQ(mkdir(Path("taken").c_str(), 0700), 0);
  WritePlain(Path("taken/inside"), "x");
  const absl::Status status = WriteFileAtomically(Path("taken"), "new", 0600);
  EXPECT_FALSE(status.ok()) << "a directory is in the way";
  EXPECT_THAT(std::string(status.message()), HasSubstr("rename"));
  EXPECT_THAT(Names(dir_), ElementsAre("taken"));
  EXPECT_EQ(WriteFileAtomically(Path("no/such/dir"), "x", 0600).code(),
            absl::StatusCode::kNotFound);
}

TEST_F(AtomicFile, AReaderSeesTheOldFileOrTheNewOneNeverAPart) {
  const std::string old_text(200'000, 'o'), new_text(200'000, 'n');
  ASSERT_TRUE(WriteFileAtomically(Path("f"), old_text, 0600).ok());
  const pid_t child = fork();
  if (child == 0) {
    for (int i = 0; i < 40; ++i) {
      if (!WriteFileAtomically(Path("f"), i % 2 == 0 ? new_text : old_text, 0600).ok()) _exit(1);
    }
    _exit(0);
  }
  int status = 0;
  int reads = 0;
  while (waitpid(child, &status, WNOHANG) == 0) {
    const auto text = ReadWholeFile(Path("f"), 1'000'000);
    ASSERT_TRUE(text.ok()) << text.status();
    ASSERT_TRUE(*text == old_text || *text == new_text)
        << "a torn read of " << text->size() << " bytes";
    ++reads;
  }
  EXPECT_EQ(status, 0);
  EXPECT_GT(reads, 0);
}

// What "fsync'ed" means can be seen only from outside: the order of the calls that the kernel got.
TEST_F(AtomicFile, TheFileIsSyncedBeforeTheRenameAndTheDirectoryAfterIt) {
  if (std::system("strace -o /dev/null true >/dev/null 2>&1") != 0)
    GTEST_SKIP() << "SKIPPED: strace cannot trace here";
  const std::string trace = Path("trace");
  const pid_t child = fork();
  if (child == 0) {
    const std::string self = std::filesystem::read_symlink("/proc/self/exe");
    setenv("ASAN_OPTIONS", "detect_leaks=0", 1);  // LeakSanitizer cannot work beside strace
    setenv("HELO_TEST_WRITE_TO", Path("f").c_str(), 1);
    execlp("strace", "strace", "-f", "-o", trace.c_str(), "-e",
           "trace=openat,open,write,fsync,rename,renameat,renameat2", self.c_str(),
           "--gtest_filter=AtomicFileHelper.DISABLED_Writes", "--gtest_also_run_disabled_tests",
           nullptr);
    _exit(127);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
  std::ifstream in(trace);
  std::vector<std::string> steps;
  for (std::string line; std::getline(in, line);) {
    if (absl::StrContains(line, "O_CREAT") && absl::StrContains(line, "f.tmp-")) {
      steps.push_back(absl::StrContains(line, ", 0600)") ? "create 0600" : "create otherwise");
    }
    if (steps.empty()) continue;
    if (absl::StrContains(line, "the-contents")) steps.push_back("write");
    if (absl::StrContains(line, "fsync(")) steps.push_back("fsync");
    if (absl::StrContains(line, "rename")) steps.push_back("rename");
  }
  EXPECT_THAT(steps, ElementsAre("create 0600", "write", "fsync", "rename", "fsync"));
}

// Run under strace by the test above.
TEST(AtomicFileHelper, DISABLED_Writes) {
  const char* path = std::getenv("HELO_TEST_WRITE_TO");
  ASSERT_NE(path, nullptr);
  ASSERT_TRUE(WriteFileAtomically(path, "the-contents", 0600).ok());
}

TEST_F(AtomicFile, ReadingTellsAbsentFromTooLargeFromADirectory) {
  EXPECT_EQ(ReadWholeFile(Path("none"), 10).status().code(), absl::StatusCode::kNotFound);
  WritePlain(Path("big"), "0123456789a");
  EXPECT_EQ(ReadWholeFile(Path("big"), 10).status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(ReadWholeFile(Path("big"), 11).ok());
  EXPECT_THAT(std::string(ReadWholeFile(dir_, 10).status().message()), HasSubstr("EISDIR"));
}

TEST_F(AtomicFile, ACorruptFileIsSetAsideUnderANewNameEveryTime) {
  WritePlain(Path("peers.json"), "{torn");
  EXPECT_EQ(*SetAside(Path("peers.json")), Path("peers.json.corrupt-1"));
  WritePlain(Path("peers.json"), "{torn again");
  EXPECT_EQ(*SetAside(Path("peers.json")), Path("peers.json.corrupt-2"));
  EXPECT_EQ(*ReadWholeFile(Path("peers.json.corrupt-1"), 100), "{torn") << "nothing is overwritten";
  EXPECT_THAT(Names(dir_), ElementsAre("peers.json.corrupt-1", "peers.json.corrupt-2"));
  EXPECT_EQ(SetAside(Path("peers.json")).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(AtomicFile, ADataDirectoryIsMadeForItsOwnerAloneWithItsParents) {
  const auto dir = DataDir::Open(Path("deep/er/data/"));
  ASSERT_TRUE(dir.ok()) << dir.status();
  EXPECT_EQ(dir->path(), Path("deep/er/data"));
  EXPECT_EQ(dir->File("node.key"), Path("deep/er/data/node.key"));
  EXPECT_EQ(ModeOf(dir->path()), 0700u);
  EXPECT_EQ(ModeOf(Path("deep")), 0700u);
  EXPECT_EQ(ModeOf(dir->File("LOCK")), 0600u);
}

TEST_F(AtomicFile, ADirectoryThatOthersMayWriteIsRefusedWithTheRemedy) {
  for (const mode_t mode : {0777, 0770, 0702}) {
    ASSERT_EQ(chmod(dir_.c_str(), mode), 0);
    const auto dir = DataDir::Open(dir_);
    EXPECT_EQ(dir.status().code(), absl::StatusCode::kPermissionDenied);
    EXPECT_THAT(std::string(dir.status().message()), HasSubstr("chmod 700 " + dir_));
  }
  ASSERT_EQ(chmod(dir_.c_str(), 0755), 0);
  EXPECT_TRUE(DataDir::Open(dir_).ok()) << "others may look";
}

TEST_F(AtomicFile, ADirectoryOfAnotherUserIsRefused) {
  if (geteuid() != 0) {
    const auto dir = DataDir::Open("/");  // root's
    EXPECT_EQ(dir.status().code(), absl::StatusCode::kPermissionDenied);
    return;
  }
  ASSERT_EQ(chown(dir_.c_str(), 12345, static_cast<gid_t>(-1)), 0);
  const auto dir = DataDir::Open(dir_);
  EXPECT_EQ(dir.status().code(), absl::StatusCode::kPermissionDenied);
  EXPECT_THAT(std::string(dir.status().message()), HasSubstr("belongs to uid 12345"));
  EXPECT_THAT(std::string(dir.status().message()), HasSubstr("chown"));
}

TEST_F(AtomicFile, AFileInTheWayIsNamed) {
  WritePlain(Path("file"), "x");
  EXPECT_THAT(std::string(DataDir::Open(Path("file")).status().message()), HasSubstr(Path("file")));
  EXPECT_THAT(std::string(DataDir::Open(Path("file/sub")).status().message()),
              HasSubstr("data directory"));
  EXPECT_FALSE(DataDir::Open("").ok());
}

TEST_F(AtomicFile, ASecondProcessIsRefusedAndTheFirstIsNamedUntilItIsGone) {
  int ready[2], done[2];
  ASSERT_EQ(pipe(ready), 0);
  ASSERT_EQ(pipe(done), 0);
  const pid_t child = fork();
  if (child == 0) {
    close(done[1]);
    const auto mine = DataDir::Open(dir_);
    const char ok = mine.ok() ? 'y' : 'n';
    if (write(ready[1], &ok, 1) != 1) _exit(1);
    char end;
    if (read(done[0], &end, 1) < 0) _exit(1);
    _exit(0);  // without the destructor: as if killed
  }
  close(done[0]);
  char ok = 0;
  ASSERT_EQ(read(ready[0], &ok, 1), 1);
  ASSERT_EQ(ok, 'y');
  const auto second = DataDir::Open(dir_);
  EXPECT_EQ(second.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(second.status().message()), HasSubstr(absl::StrCat("pid ", child)));
  EXPECT_THAT(std::string(second.status().message()), HasSubstr("--data-dir"));
  close(done[1]);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(DataDir::Open(dir_).ok()) << "a killed holder leaves no lock behind";
  close(ready[0]);
  close(ready[1]);
}

TEST_F(AtomicFile, TheLockIsReleasedByTheDestructorAndGoesWithAMove) {
  {
    auto first = DataDir::Open(dir_);
    ASSERT_TRUE(first.ok());
    const DataDir moved = std::move(*first);
    EXPECT_FALSE(DataDir::Open(dir_).ok());
  }
  EXPECT_TRUE(DataDir::Open(dir_).ok());
}

TEST_F(AtomicFile, WhatAKilledWriterLeftIsCleanedAtTheNextOpen) {
  WritePlain(Path("node.key.tmp-4711-0"), "half");
  WritePlain(Path("notes.tmp-keep"), "mine");
  WritePlain(Path("node.key"), "whole");
  ASSERT_TRUE(DataDir::Open(dir_).ok());
  EXPECT_THAT(Names(dir_), ElementsAre("LOCK", "node.key", "notes.tmp-keep"));
}

}  // namespace
}  // namespace helo
