#include "p2p/tls/slim_provider.h"

#include <absl/container/flat_hash_map.h>
#include <openssl/core.h>
#include <openssl/core_dispatch.h>
#include <openssl/crypto.h>

#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "p2p/base/mutex.h"

namespace helo::tls {
namespace {

struct View {
  OSSL_PROVIDER* base = nullptr;
  std::vector<OSSL_ALGORITHM> key_managers, decoders;  // each ends with an empty one
};

// A provider's functions get its context and nothing else, and the context must be the base's own,
// since the algorithms were written for that one. So what belongs to a view is found by it.
struct Views {
  Mutex mutex;
  absl::flat_hash_map<void*, std::unique_ptr<const View>> by_context ABSL_GUARDED_BY(mutex);

  // Stays: a view is taken out when nobody can ask for it any more.
  const View* Find(void* context) {
    MutexLock lock(mutex);
    const auto it = by_context.find(context);
    return it == by_context.end() ? nullptr : it->second.get();
  }
};

Views& AllViews() {
  static auto& views = *new Views;  // providers may outlive what is destroyed at exit
  return views;
}

// The base of the view that is being loaded by this thread: OSSL_PROVIDER_load passes nothing on.
thread_local OSSL_PROVIDER* base_to_show = nullptr;

std::vector<OSSL_ALGORITHM> Only(const OSSL_ALGORITHM* all,
                                 std::initializer_list<std::string_view> wanted) {
  std::vector<OSSL_ALGORITHM> chosen;
  for (; all != nullptr && all->algorithm_names != nullptr; ++all) {
    const std::string_view names(all->algorithm_names);  // "ED25519:1.3.101.112"
    for (const std::string_view name : wanted) {
      if (names.substr(0, names.find(':')) == name) chosen.push_back(*all);
    }
  }
  chosen.push_back(OSSL_ALGORITHM{});
  return chosen;
}

const OSSL_ALGORITHM* Query(void* context, int operation, int* no_cache) {
  const View* view = AllViews().Find(context);
  *no_cache = 0;
  if (view == nullptr) return nullptr;
  switch (operation) {
    case OSSL_OP_KEYMGMT:
      return view->key_managers.data();
    case OSSL_OP_DECODER:
      return view->decoders.data();
    default:
      return OSSL_PROVIDER_query_operation(view->base, operation, no_cache);
  }
}

int GetCapabilities(void* context, const char* capability, OSSL_CALLBACK* callback, void* arg) {
  const View* view = AllViews().Find(context);
  return view == nullptr ? 0
                         : OSSL_PROVIDER_get_capabilities(view->base, capability, callback, arg);
}

// OSSL_DISPATCH holds every function as void(*)(void).
template <typename F>
void (*Dispatch(F* function))() {
  return reinterpret_cast<void (*)()>(function);
}

const OSSL_DISPATCH kFunctions[] = {
    {OSSL_FUNC_PROVIDER_QUERY_OPERATION, Dispatch(&Query)},
    {OSSL_FUNC_PROVIDER_GET_CAPABILITIES, Dispatch(&GetCapabilities)},
    {0, nullptr},
};

// As OSSL_provider_init_fn (man 7 provider-base).
int Init(const OSSL_CORE_HANDLE* /*handle*/, const OSSL_DISPATCH* /*in*/, const OSSL_DISPATCH** out,
         void** context) {
  OSSL_PROVIDER* const base = base_to_show;
  if (base == nullptr) return 0;
  *context = OSSL_PROVIDER_get0_provider_ctx(base);
  *out = kFunctions;
  return *context != nullptr;
}

}  // namespace

bool SlimProvider::Pays() { return OPENSSL_version_major() == 3 && OPENSSL_version_minor() == 0; }

Handle<OSSL_PROVIDER, OSSL_PROVIDER_unload> SlimProvider::Load(OSSL_LIB_CTX* library) {
  base_library_.reset(OSSL_LIB_CTX_new());
  if (!base_library_) return nullptr;
  base_.reset(OSSL_PROVIDER_load(base_library_.get(), "default"));
  if (!base_) return nullptr;
  auto view = std::make_unique<View>();
  view->base = base_.get();
  int ignored = 0;
  view->key_managers = Only(OSSL_PROVIDER_query_operation(base_.get(), OSSL_OP_KEYMGMT, &ignored),
                            {"X25519", "ED25519"});
  view->decoders =
      Only(OSSL_PROVIDER_query_operation(base_.get(), OSSL_OP_DECODER, &ignored), {"ED25519"});
  {
    Views& views = AllViews();
    MutexLock lock(views.mutex);
    views.by_context[OSSL_PROVIDER_get0_provider_ctx(base_.get())] = std::move(view);
  }
  if (OSSL_PROVIDER_add_builtin(library, "helo-slim", &Init) != 1) return nullptr;
  base_to_show = base_.get();
  Handle<OSSL_PROVIDER, OSSL_PROVIDER_unload> shown(OSSL_PROVIDER_load(library, "helo-slim"));
  base_to_show = nullptr;
  return shown;
}

SlimProvider::~SlimProvider() {
  if (!base_) return;
  Views& views = AllViews();
  MutexLock lock(views.mutex);
  views.by_context.erase(OSSL_PROVIDER_get0_provider_ctx(base_.get()));
}

}  // namespace helo::tls
