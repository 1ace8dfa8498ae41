// helo/testing/check.h: as much of a test framework as a plugin's first test needs. Use any other
// with FakeHost as you like; nothing there depends on this.
//
//   HELO_TEST(AnswersAPing) { HELO_CHECK(1 + 1 == 2); }
//   HELO_TEST_MAIN()
#ifndef HELO_TESTING_CHECK_H_
#define HELO_TESTING_CHECK_H_

#include <cstdio>
#include <string>
#include <vector>

namespace helo::testing {

struct Test {
  const char* name;
  void (*run)();
};
inline std::vector<Test>& Tests() {
  static std::vector<Test> tests;
  return tests;
}
inline int& Failures() {
  static int failures = 0;
  return failures;
}
inline void Fail(const char* file, int line, const std::string& what) {
  std::fprintf(stderr, "%s:%d: %s\n", file, line, what.c_str());
  ++Failures();
}
inline int RunTests() {
  int failed = 0;
  for (const Test& test : Tests()) {
    const int before = Failures();
    test.run();
    const bool ok = Failures() == before;
    failed += ok ? 0 : 1;
    std::printf("%s  %s\n", ok ? "ok    " : "FAILED", test.name);
  }
  std::printf("%zu tests, %d failed\n", Tests().size(), failed);
  return failed == 0 && !Tests().empty() ? 0 : 1;
}

}  // namespace helo::testing

#define HELO_TEST(Name)                                           \
  static void Name();                                             \
  [[maybe_unused]] static const bool kIsATest_##Name =            \
      (::helo::testing::Tests().push_back({#Name, &Name}), true); \
  static void Name()
#define HELO_CHECK(condition) \
  ((condition) ? (void)0 : ::helo::testing::Fail(__FILE__, __LINE__, "not so: " #condition))
// Every rule was kept, by the plugin and by the test; if not, says which.
#define HELO_CHECK_NO_VIOLATIONS(host)                       \
  do {                                                       \
    for (const auto& violation_ : (host).violations())       \
      ::helo::testing::Fail(__FILE__, __LINE__, violation_); \
  } while (false)
#define HELO_TEST_MAIN() \
  int main() { return ::helo::testing::RunTests(); }

#endif
