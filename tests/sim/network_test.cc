// Whole networks, each from one seed: the mesh forms, and heals after whatever happened to it. A
// failure names its seed; HELO_SIM_SEED=N runs that one alone, HELO_SIM_RUNS=N so many.
#include "tests/sim/network.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace helo::sim {
namespace {

using namespace std::chrono_literals;

// A node that started at once finds everybody after a few tries; after damage the worst is a silent
// death that nobody notices for 45 s, met by a dialer whose backoff is at its longest, which then
// meets what the other side still holds.
constexpr Duration kFormsWithin = 30s;
constexpr Duration kHealsWithin = 240s;

std::vector<uint64_t> Seeds(uint64_t runs) {
  if (const char* seed = std::getenv("HELO_SIM_SEED")) return {std::strtoull(seed, nullptr, 10)};
  if (const char* many = std::getenv("HELO_SIM_RUNS")) runs = std::strtoull(many, nullptr, 10);
  std::vector<uint64_t> seeds;
  for (uint64_t i = 1; i <= runs; ++i) seeds.push_back(i);
  return seeds;
}

// 3 to 20 hosts, every two of which know each other in one direction or in both.
std::unique_ptr<Network> Mesh(uint64_t seed) {
  testing::SeededRng rng(seed * 7919);
  const size_t hosts = 3 + rng.Below(seed % 4 == 0 ? 18 : 6);
  // Slots for everybody: who gets in when there are fewer is another test.
  auto network = std::make_unique<Network>(seed, hosts, peers::TableLimits{64, 32});
  for (size_t a = 0; a < hosts; ++a) {
    for (size_t b = a + 1; b < hosts; ++b) {
      const uint64_t which = rng.Below(4);
      if (which != 0) network->AddTarget(a, b, rng.Below(2) == 0);
      if (which != 1) network->AddTarget(b, a, rng.Below(2) == 0);
    }
  }
  return network;
}

void StartAll(Network& network, size_t hosts, Duration within) {
  for (size_t i = 0; i < hosts; ++i) {
    network.RunFor(
        Duration(network.rng().Below(static_cast<uint64_t>(within.count()) / hosts + 1)));
    network.Start(i);
  }
}

#define REQUIRE(condition, what)                                                    \
  if (!(condition)) {                                                               \
    ADD_FAILURE() << (what) << "\n"                                                 \
                  << network->WhyNoMesh() << "\nreplay with HELO_SIM_SEED=" << seed \
                  << "; the last events:\n"                                         \
                  << network->Log();                                                \
    return;                                                                         \
  }

void FormsAndStays(uint64_t seed) {
  std::unique_ptr<Network> network = Mesh(seed);
  const size_t hosts = network->hosts();
  StartAll(*network, hosts, seed % 2 == 0 ? 0s : 5s);
  const auto meshed = [&] { return network->WhyNoMesh().empty(); };
  REQUIRE(network->RunUntil(meshed, kFormsWithin), "the mesh does not form");
  const std::set<size_t> links = network->UpLinks();
  network->RunFor(300s);
  REQUIRE(meshed() && network->UpLinks() == links, "the mesh does not stay as it was");
  REQUIRE(network->broken().empty(), network->broken());
}

TEST(Network, AMeshFormsAndStays) {
  for (uint64_t seed : Seeds(40)) {
    FormsAndStays(seed);
    if (HasFailure()) return;
  }
}

void Disturb(Network& network, size_t hosts) {
  testing::SeededRng& rng = network.rng();
  const std::vector<size_t> open = network.OpenLinks();
  const auto any_link = [&] { return open[rng.Below(open.size())]; };
  const auto any_host = [&] { return rng.Below(hosts); };
  switch (rng.Below(8)) {
    case 0:
      if (!open.empty()) network.Reset(any_link());
      break;
    case 1:
      if (!open.empty()) network.Kill(any_link(), true, true);
      break;
    case 2:
      if (!open.empty()) network.Kill(any_link(), true, false);
      break;
    case 3:
      if (!open.empty()) network.Kill(any_link(), false, true);
      break;
    case 4: {
      const size_t host = any_host();
      network.Stop(host, rng.Below(2) == 0 ? DownKind::kKilled : DownKind::kPowerOff);
      network.RunFor(Duration(rng.Below(60'000'000'000)));
      network.Start(host);
      break;
    }
    case 5: {
      std::vector<bool> side(hosts);
      for (size_t i = 0; i < hosts; ++i) side[i] = rng.Below(2) == 0;
      network.Partition(side);
      network.RunFor(Duration(rng.Below(90'000'000'000)));
      network.Heal();
      break;
    }
    case 6:
      network.SetDelay(100ms, 4s);
      network.RunFor(Duration(rng.Below(30'000'000'000)));
      network.SetDelay(100us, 30ms);
      break;
    case 7: {  // both ends of everything at once
      for (size_t link : open) {
        if (rng.Below(3) == 0) network.Kill(link, rng.Below(2) == 0, rng.Below(2) == 0);
      }
      break;
    }
  }
}

void HealsAfterDamage(uint64_t seed, Duration* slowest) {
  std::unique_ptr<Network> network = Mesh(seed);
  const size_t hosts = network->hosts();
  StartAll(*network, hosts, 5s);
  const uint64_t times = 1 + network->rng().Below(15);
  for (uint64_t i = 0; i < times; ++i) {
    network->RunFor(Duration(network->rng().Below(20'000'000'000)));
    Disturb(*network, hosts);
  }
  const auto meshed = [&] { return network->WhyNoMesh().empty(); };
  const MonoTime damaged = network->Now();
  // A reset, or what waited behind a partition, may be on its way; silent deaths Settled() knows
  // of.
  network->RunFor(10s);
  REQUIRE(network->RunUntil([&] { return meshed() && network->Settled(); }, kHealsWithin),
          "the mesh does not heal");
  *slowest = std::max(*slowest, network->Now() - damaged);
  const std::set<size_t> links = network->UpLinks();
  network->RunFor(300s);
  REQUIRE(meshed() && network->UpLinks() == links, "the mesh does not stay as it healed");
  REQUIRE(network->broken().empty(), network->broken());
}

TEST(Network, AMeshHealsWhateverHappensToIt) {
  Duration slowest{};
  for (uint64_t seed : Seeds(60)) {
    HealsAfterDamage(seed, &slowest);
    if (HasFailure()) return;
  }
  std::printf("slowest healing: %.1f s of virtual time\n",
              std::chrono::duration<double>(slowest).count());
}

// Forty spokes for a hub with twenty slots: it is never above its limit, a trusted one always gets
// in, and who was there early and stays is not pushed out by those who knock.
TEST(Network, AFullHubKeepsItsLimitItsTrustedAndItsOldPeers) {
  for (uint64_t seed : Seeds(5)) {
    constexpr size_t kSpokes = 40;
    constexpr int kSlots = 24;
    auto network = std::make_unique<Network>(seed, kSpokes + 1, peers::TableLimits{kSlots, 16});
    for (size_t i = 1; i <= kSpokes; ++i) network->AddTarget(i, 0, true);
    for (size_t trusted : {39u, 40u}) network->Trust(0, trusted);
    network->Start(0);
    for (size_t i = 1; i <= static_cast<size_t>(kSlots); ++i) network->Start(i);
    network->RunFor(60s);
    const std::set<size_t> early = network->UpLinks();
    REQUIRE(early.size() == static_cast<size_t>(kSlots), "not everybody got a slot");
    for (size_t i = kSlots + 1; i <= kSpokes; ++i) network->Start(i);
    for (int second = 0; second < 600; ++second) {
      network->RunFor(1s);
      REQUIRE(network->node(0).table().up_count() <= kSlots + 2, "more peers than slots");
    }
    const std::set<size_t> late = network->UpLinks();
    size_t kept = 0;
    for (size_t link : early) kept += late.count(link);
    EXPECT_GE(kept, peers::kLeastEvictable - 1) << "replay with HELO_SIM_SEED=" << seed;
    for (size_t trusted : {39u, 40u})
      REQUIRE(network->Connected(0, trusted), "a trusted peer is not connected");
    REQUIRE(network->CountEnded(Reason::kEvicted) > 0, "nobody made room");
    REQUIRE(network->broken().empty(), network->broken());
  }
}

TEST(Network, OneSeedAlwaysTellsTheSameStory) {
  std::string first;
  for (int i = 0; i < 2; ++i) {
    std::unique_ptr<Network> network = Mesh(4);
    StartAll(*network, network->hosts(), 5s);
    network->RunFor(20s);
    Disturb(*network, network->hosts());
    network->RunFor(100s);
    if (i == 0) first = network->Log();
    EXPECT_EQ(network->Log(), first);
  }
  EXPECT_FALSE(first.empty());
}

}  // namespace
}  // namespace helo::sim
