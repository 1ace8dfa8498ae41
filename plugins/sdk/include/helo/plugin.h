/* helo/plugin.h: all that a plugin sees of the node. C11; no type of the project, of protobuf,
 * abseil or C++. C++ authors include helo/plugin.hpp, which wraps it. A plugin is a shared library
 * with one exported function, helo_plugin_query. Its file, and every directory above it,
 * is writable by nobody but root and the node's user, or it is not loaded.
 *
 * Growth. Each struct begins with struct_size, set by whoever fills it, and grows only at its end;
 * a reader takes what is not there as zero (HELO_HAS). Nothing is reordered or changes its meaning
 * within a major. What is new beyond a field is an extension, asked for by an id such as
 * "helo.timer/1" (helo/extensions.h); each may be absent: test for NULL.
 *
 * Threads. [plugin]: calls into one instance, in order, never two at once. Not always by the same
 * thread of the system: keep nothing in thread-local storage. [any]: from every thread, at the same
 * time too. No [plugin] call ever runs on a network thread: one that takes long delays this
 * plugin's own peers and nobody else.
 *
 * Memory. Bytes and strings are borrowed until the call returns, both ways; who wants to keep them
 * copies them. Who allocates frees: nothing is handed over. No exception may leave a plugin.
 *
 * Blame. The verdict of on_message speaks of the peer. fault(), a failed create or start, or a
 * value outside these lists speak of the plugin: it is put in quarantine, its sessions are closed
 * with HELO_REASON_PLUGIN_GONE, and no peer is blamed. Memory corruption, abort() and exit() are
 * not contained: a plugin shares the node's process. */
#ifndef HELO_PLUGIN_H_
#define HELO_PLUGIN_H_
#include <stddef.h> /* NOLINT(modernize-deprecated-headers): this is C */
#include <stdint.h> /* NOLINT(modernize-deprecated-headers): this is C */

#include "helo/reasons.h"
#ifdef __cplusplus
extern "C" {
#endif

/* Another major is refused, in a sentence that names both, before any other call. The minor counts
 * appended fields: it is shown in listings and never a reason to refuse. */
#define HELO_ABI_MAJOR 1u
#define HELO_ABI_MINOR 0u
#define HELO_EXPORT __attribute__((visibility("default")))
/* Is this appended field there, and set? HELO_HAS(descriptor, helo_descriptor, get_extension) */
#define HELO_HAS(p, type, field) \
  ((p)->struct_size >= offsetof(type, field) + sizeof((p)->field) && (p)->field)

typedef struct helo_host_ctx helo_host_ctx; /* opaque, the host's */
typedef struct helo_plugin helo_plugin;     /* opaque, the plugin's instance */
typedef uint64_t helo_session; /* one peer on one protocol; never 0, never used again */
typedef struct helo_bytes {
  const uint8_t* data; /* may be NULL when size is 0 */
  size_t size;
} helo_bytes;
typedef struct helo_str {
  const char* data; /* no NUL at the end is promised */
  size_t size;
} helo_str; /* UTF-8, except where a remote wrote it */

typedef int32_t helo_status; /* fixed width: the size of a C enum is no part of an ABI */
enum {
  HELO_OK = 0,
  HELO_E_AGAIN = 1,    /* full, nothing was taken; for send, on_writable follows */
  HELO_E_GONE = 2,     /* no such session or call, any more */
  HELO_E_INVALID = 3,  /* an argument breaks a rule of this header */
  HELO_E_TOO_BIG = 4,  /* above the peer's limit for one message, or a limit named with the call */
  HELO_E_STOPPING = 5, /* the plugin is being drained: only log() still works */
  HELO_E_FAILED = 6 /* for a plugin's create and start: say why with fault() before returning it */
};
typedef int32_t helo_verdict; /* what on_message says of the PEER */
enum {
  HELO_V_OK = 0,
  HELO_V_PENALISE = 1, /* it broke the protocol: closed with PLUGIN_VIOLATION, counted against it */
  HELO_V_DISCONNECT = 2 /* closed with PLUGIN_POLITE, nobody's fault */
};
enum { HELO_LOG_DEBUG = 0, HELO_LOG_INFO = 1, HELO_LOG_WARNING = 2, HELO_LOG_ERROR = 3 };
enum {
  HELO_F_UNLOADABLE = 1u << 0
}; /* the author vouches for dlclose; without it the library stays mapped */

typedef struct helo_protocol { /* one capability: exactly one (name, version); list every version
                                  you speak */
  uint32_t struct_size;
  uint32_t version;           /* 1 to 65535; the highest that both sides have is used */
  const char* name;           /* [a-z][a-z0-9-]{0,15} */
  uint32_t message_count;     /* 1 to 65535: types 0 to count-1; the host punishes any other */
  uint32_t max_message_bytes; /* of a message to us, 0 to 16 MiB: checked before one byte of it is
                                 buffered */
} helo_protocol;

typedef struct helo_session_info {
  uint32_t struct_size;
  uint32_t protocol;   /* index into helo_descriptor.protocols: the version that both sides chose */
  uint8_t node_id[32]; /* who the peer is: its Ed25519 public key, proved */
  uint32_t inbound;    /* 1: it dialed us */
  uint32_t max_send_bytes; /* its limit for one message to it */
  helo_str address;        /* "192.0.2.7:4356", "[2001:db8::1]:4356" */
} helo_session_info;

typedef struct helo_host { /* valid from create until destroy has returned; every call [any] */
  uint32_t struct_size;
  uint32_t abi_minor;
  helo_host_ctx* ctx; /* first argument of every call below */
  /* Copies the payload. Messages of one session arrive in the order of the calls. AGAIN: this
   * session's quota (1 MiB unless configured) is full; INVALID: type >= message_count. */
  helo_status (*send)(helo_host_ctx*, helo_session, uint32_t type, helo_bytes payload);
  /* Closes the peer, for every protocol. penalty 0: PLUGIN_POLITE; 1: PLUGIN_VIOLATION. `why` (up
   * to 256 bytes, the rest is cut) is sent to it. on_close follows. */
  helo_status (*disconnect)(helo_host_ctx*, helo_session, int32_t penalty, helo_str why);
  /* on_posted(token) follows on [plugin]: the way back from a thread of yours. AGAIN: 65,536 are
   * waiting. */
  helo_status (*post)(helo_host_ctx*, uint64_t token);
  void (*fault)(helo_host_ctx*, helo_str why); /* "I am broken"; the first one counts */
  void (*log)(helo_host_ctx*, int32_t level,
              helo_str line); /* prefixed with the plugin's name; rate-limited */
  const void* (*get_extension)(helo_host_ctx*,
                               const char* id); /* NULL: this host has none of that id */
} helo_host;

/* All [plugin]. An instance: create start (open message* writable* posted* close)* stop destroy;
 * create may fail, and then neither start, stop nor destroy follows; after a failed start only
 * destroy. A session: open first, exactly one close for each open, nothing after it. Any pointer
 * but create, on_message and destroy may be NULL. */
typedef struct helo_descriptor {
  uint32_t struct_size;
  uint32_t abi_major; /* HELO_ABI_MAJOR; these four keep their place in every major */
  uint32_t abi_minor;
  uint32_t flags;
  const char* id; /* "com.example.echo", for people; operators call a plugin by its file's name */
  const char* version;                   /* "1.0.0", the plugin's own */
  const char* description;               /* one line for listings */
  const helo_protocol* const* protocols; /* pointers, because helo_protocol may grow; at most 16 */
  uint32_t protocol_count;               /* may be 0: a plugin of commands and timers only */
  uint32_t reserved;
  /* `config` is the plugin's section of the configuration file, or NAME.conf; empty if there is
   * none. On failure *out is not looked at and nothing may be left behind. */
  helo_status (*create)(const helo_host*, helo_bytes config, helo_plugin** out);
  helo_status (*start)(helo_plugin*);
  void (*on_open)(helo_plugin*, helo_session, const helo_session_info*);
  helo_verdict (*on_message)(helo_plugin*, helo_session, uint32_t type, helo_bytes payload);
  void (*on_writable)(helo_plugin*,
                      helo_session); /* after AGAIN: half of the quota is free again */
  void (*on_posted)(helo_plugin*, uint64_t token);
  void (*on_close)(helo_plugin*, helo_session,
                   int32_t reason); /* helo/reasons.h, or one of a newer node */
  void (*stop)(
      helo_plugin*); /* join your own threads here: 5 s, then you are abandoned and reported */
  void (*destroy)(helo_plugin*); /* the last call into the instance */
  /* The smallest descriptor ends here. What follows was appended. */
  const void* (*get_extension)(helo_plugin*,
                               const char* id); /* asked once for each id, after create */
} helo_descriptor;

/* The one exported symbol. [any] Pure: no allocation, thread or file. Gives the descriptor of that
 * major, else the one it has, so that a refusal can name both. It and all it points to stay valid
 * while the library is mapped. */
HELO_EXPORT const helo_descriptor* helo_plugin_query(uint32_t host_abi_major);

#ifdef __cplusplus
}
#endif
#endif
