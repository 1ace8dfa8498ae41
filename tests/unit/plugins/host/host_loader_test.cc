// From a name to mapped code: what is accepted, and the sentence with which the rest is refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "p2p/base/text.h"
#include "plugins/host/file_check.h"
#include "plugins/host/loader.h"
#include "tests/unit/plugins/host/scratch.h"

namespace helo::plugins {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class HostLoader : public ::testing::Test {
 protected:
  std::string Refusal(const std::string& name) {
    auto library = loader_.Open(name);
    EXPECT_FALSE(library.ok()) << name;
    return library.ok() ? "" : std::string(FromAbsl(library.status().message()));
  }
  std::string RefusalOf(const std::string& plugin) {
    scratch_.Put(plugin);
    return Refusal(plugin);
  }
  testing::Scratch scratch_;
  Loader loader_{scratch_.dir(), scratch_.copies()};
};

TEST_F(HostLoader, MapsAPrivateCopyNamedByItsHash) {
  scratch_.Put("probe");
  auto library = loader_.Open("probe");
  ASSERT_TRUE(library.ok()) << library.status();
  EXPECT_EQ((*library)->file(), scratch_.File("probe"));
  EXPECT_EQ((*library)->hash().size(), 64u);
  EXPECT_EQ((*library)->copy(), scratch_.copies() + "/probe-" + (*library)->hash() + ".so");
  EXPECT_EQ((*library)->manifest().id, "com.example.probe");
  ASSERT_EQ((*library)->manifest().protocols.size(), 2u);
  EXPECT_EQ((*library)->manifest().protocols[1].version, 2);
  struct stat info {};
  ASSERT_EQ(stat(scratch_.copies().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700u);
  // The file may be replaced in place, and nothing happens to what is mapped.
  scratch_.Put("probe2", "probe");
  EXPECT_STREQ((*library)->descriptor().version, "1.0.0");
  auto second = loader_.Open("probe");
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_STREQ((*second)->descriptor().version, "2.0.0");
  EXPECT_NE((*second)->hash(), (*library)->hash());
  EXPECT_TRUE((*library)->Unmap().ok());
  EXPECT_TRUE((*second)->Unmap().ok());
  EXPECT_TRUE(std::filesystem::is_empty(scratch_.copies()));
}

TEST_F(HostLoader, LoadsAnOlderSmallerLayout) {
  scratch_.Put("older");
  auto library = loader_.Open("older");
  ASSERT_TRUE(library.ok()) << library.status();
  EXPECT_EQ((*library)->manifest().version, "0.9");
  EXPECT_EQ((*library)->manifest().description, "");
  EXPECT_FALSE(HELO_HAS(&(*library)->descriptor(), helo_descriptor, get_extension));
  EXPECT_TRUE((*library)->Unmap().ok());
}

TEST_F(HostLoader, RefusesEachInASentenceWithTheRemedy) {
  EXPECT_EQ(RefusalOf("abi2"),
            "abi2.so needs ABI 2 and this node speaks ABI 1: upgrade the node, or rebuild the "
            "plugin against helo 1.x");
  EXPECT_EQ(RefusalOf("abi0"),
            "abi0.so needs ABI 0 and this node speaks ABI 1: rebuild the plugin against this "
            "node's helo/plugin.h, of helo 1.x");
  EXPECT_THAT(RefusalOf("nosymbol"),
              AllOf(HasSubstr("does not export helo_plugin_query"), HasSubstr("HELO_EXPORT")));
  EXPECT_THAT(RefusalOf("undefined"),
              AllOf(HasSubstr("undefined.so needs the symbol helo_test_nobody_defines_this"),
                    HasSubstr("link what defines it")));
  EXPECT_THAT(
      RefusalOf("needs"),
      AllOf(HasSubstr("needs.so needs the library libhelo_test_gone.so"), HasSubstr("install it")));
  EXPECT_THAT(RefusalOf("small"), HasSubstr("has struct_size 24 and the smallest is 128"));
  EXPECT_THAT(RefusalOf("smallproto"), HasSubstr("protocol 0 has struct_size 8"));
  EXPECT_THAT(RefusalOf("badname"), HasSubstr("[a-z][a-z0-9-]{0,15}"));
  EXPECT_THAT(RefusalOf("badcount"), HasSubstr("message_count 0; it must be 1 to 65535"));
  EXPECT_THAT(RefusalOf("noid"), HasSubstr("has no id"));
  EXPECT_THAT(RefusalOf("nomessage"), HasSubstr("has no on_message"));
}

TEST_F(HostLoader, RefusesWhatIsNoSharedObjectOfThisMachine) {
  std::ofstream(scratch_.File("text")) << "#!/bin/sh\n";
  EXPECT_THAT(Refusal("text"), HasSubstr("is no ELF shared object; build it with"));
  std::ofstream(scratch_.File("empty"));
  EXPECT_THAT(Refusal("empty"), HasSubstr("is no ELF shared object"));
  scratch_.Put("probe");
  // Cut in the middle, as by a copy that is still under way.
  scratch_.Put("probe", "cut");
  std::filesystem::resize_file(scratch_.File("cut"),
                               std::filesystem::file_size(scratch_.File("cut")) / 8);
  EXPECT_THAT(Refusal("cut"), HasSubstr("is cut short"));
  scratch_.Put("probe", "other");
  std::fstream other(scratch_.File("other"), std::ios::in | std::ios::out | std::ios::binary);
  other.seekp(18);  // e_machine
  other.put(40).put(0);
  other.close();
  EXPECT_THAT(Refusal("other"), HasSubstr("was built for arm and this node runs on"));
  EXPECT_EQ(mkdir(scratch_.File("folder").c_str(), 0755), 0);
  EXPECT_THAT(Refusal("folder"), HasSubstr("is not a regular file"));
}

TEST_F(HostLoader, NamesWhatIsThereWhenItFindsNothing) {
  scratch_.Put("probe");
  scratch_.Put("older");
  EXPECT_THAT(Refusal("ghost"), AllOf(HasSubstr("there is no " + scratch_.File("ghost")),
                                      HasSubstr("has older, probe: copy the plugin there")));
  for (const std::string name : {"../probe", "/tmp/probe", "Probe", "probe.so", "", "a/b"})
    EXPECT_THAT(Refusal(name), HasSubstr("is no plugin name")) << name;
  Loader nowhere(scratch_.root() + "/none", scratch_.copies());
  EXPECT_THAT(std::string(FromAbsl(nowhere.Open("probe").status().message())),
              HasSubstr("create it, or give another --plugin-dir"));
}

TEST_F(HostLoader, RefusesWhatOthersCouldHaveWritten) {
  scratch_.Put("probe");
  chmod(scratch_.File("probe").c_str(), 0775);
  EXPECT_EQ(Refusal("probe"), scratch_.File("probe") +
                                  " may be written by others (mode 0775), who could change what "
                                  "this node runs; run: chmod go-w " +
                                  scratch_.File("probe"));
  chmod(scratch_.File("probe").c_str(), 0755);
  chmod(scratch_.dir().c_str(), 0777);
  EXPECT_THAT(Refusal("probe"), HasSubstr("run: chmod go-w " + scratch_.dir()));
  chmod(scratch_.dir().c_str(), 01777);  // sticky, and what is in it is ours
  EXPECT_TRUE(loader_.Open("probe").ok());
  chmod(scratch_.dir().c_str(), 0755);
  chmod(scratch_.root().c_str(), 0720);
  EXPECT_THAT(Refusal("probe"), HasSubstr("run: chmod go-w " + scratch_.root()));
  chmod(scratch_.root().c_str(), 0700);
  EXPECT_TRUE(loader_.Open("probe").ok());
}

TEST_F(HostLoader, RefusesWhatIsSomebodyElses) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can give a file away";
  scratch_.Put("probe");
  ASSERT_EQ(chown(scratch_.File("probe").c_str(), 4242, 4242), 0);
  EXPECT_THAT(Refusal("probe"), HasSubstr("belongs to uid 4242, who could change"));
  chmod(scratch_.dir().c_str(), 01777);  // even in a sticky directory
  EXPECT_THAT(Refusal("probe"), HasSubstr("belongs to uid 4242"));
}

TEST_F(HostLoader, FollowsALinkAndJudgesWhereItLeads) {
  scratch_.Put("probe");
  std::filesystem::create_symlink("probe.so", scratch_.File("link"));
  EXPECT_TRUE(loader_.Open("link").ok());
  const std::string open = scratch_.root() + "/open";
  std::filesystem::create_directory(open);
  chmod(open.c_str(), 0777);
  std::filesystem::copy_file(scratch_.File("probe"), open + "/far.so");
  std::filesystem::create_symlink(open + "/far.so", scratch_.File("far"));
  EXPECT_THAT(Refusal("far"), HasSubstr("run: chmod go-w " + open));
}

TEST_F(HostLoader, APrivateDirectoryThatOthersCanReadIsNotUsed) {
  scratch_.Put("probe");
  std::filesystem::create_directory(scratch_.copies());
  chmod(scratch_.copies().c_str(), 0755);
  EXPECT_THAT(Refusal("probe"), HasSubstr("chmod 700 " + scratch_.copies()));
}

TEST_F(HostLoader, SaysWhyALibraryStaysMapped) {
  scratch_.Put("twin");
  auto twin = loader_.Open("twin");
  ASSERT_TRUE(twin.ok()) << twin.status();
  EXPECT_THAT(std::string(FromAbsl((*twin)->Unmap().message())),
              HasSubstr("does not set HELO_F_UNLOADABLE"));
}

}  // namespace
}  // namespace helo::plugins
