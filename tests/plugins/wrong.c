/* Plugins in C11 that a host refuses, each for one thing that is wrong with it; and, with nothing
 * wrong, one of the smallest layout there ever was: a descriptor that ends before get_extension. */
#include <string.h>

#include "helo/plugin.h"

#ifndef WRONG_MAJOR
#define WRONG_MAJOR HELO_ABI_MAJOR
#endif

static int instance;

static helo_status Create(const helo_host* host, helo_bytes config, helo_plugin** out) {
  (void)host;
  (void)config;
  *out = (helo_plugin*)&instance;
  return HELO_OK;
}
static helo_verdict OnMessage(helo_plugin* self, helo_session session, uint32_t type,
                              helo_bytes payload) {
  (void)self;
  (void)session;
  (void)type;
  return payload.size == 0 ? HELO_V_PENALISE : HELO_V_OK;
}
static void Destroy(helo_plugin* self) { (void)self; }

static const helo_protocol kProtocol = {
#ifdef WRONG_PROTOCOL_SIZE
    8,
#else
    sizeof(helo_protocol),
#endif
    1,
#ifdef WRONG_PROTOCOL_NAME
    "Older!",
#else
    "older",
#endif
#ifdef WRONG_COUNT
    0,
#else
    2,
#endif
    1000};
static const helo_protocol* const kProtocols[] = {&kProtocol};

static const helo_descriptor kDescriptor = {
#ifdef WRONG_SIZE
    .struct_size = 24,
#else
    .struct_size = offsetof(helo_descriptor, get_extension),
#endif
    .abi_major = WRONG_MAJOR,
    .abi_minor = 0,
    .flags = HELO_F_UNLOADABLE,
#ifndef WRONG_ID
    .id = "com.example.older",
#endif
    .version = "0.9",
    .protocols = kProtocols,
    .protocol_count = 1,
    .create = Create,
#ifndef WRONG_NO_MESSAGE
    .on_message = OnMessage,
#endif
    .destroy = Destroy};

#ifdef WRONG_UNDEFINED
void helo_test_nobody_defines_this(void);
#endif
#ifdef WRONG_NEEDS
int helo_test_gone(void);
#endif

#ifdef WRONG_NO_SYMBOL
HELO_EXPORT const helo_descriptor* another_entry(uint32_t major);
const helo_descriptor* another_entry(uint32_t major)
#else
const helo_descriptor* helo_plugin_query(uint32_t major)
#endif
{
  (void)major;
  (void)OnMessage;
#ifdef WRONG_UNDEFINED
  helo_test_nobody_defines_this();
#endif
#ifdef WRONG_NEEDS
  (void)helo_test_gone();
#endif
  return &kDescriptor;
}
