/* helo/extensions.h: what a host may offer, and a plugin may serve, beyond helo/plugin.h. An
 * extension has one id and two halves: the host's calls come from helo_host.get_extension(ctx, id),
 * the plugin's from helo_descriptor.get_extension( plugin, id). Either may be NULL. An id is never
 * given another meaning: a change is a new id ("helo.timer/2"). Drafts are called "helo/draft/...".
 * Rules of threads, memory and growth are those of helo/plugin.h. */
#ifndef HELO_EXTENSIONS_H_
#define HELO_EXTENSIONS_H_
#include "helo/plugin.h"
#ifdef __cplusplus
extern "C" {
#endif

/* helo.timer/1: timers of one shot that fire on [plugin] and die with the instance. */
#define HELO_EXT_TIMER "helo.timer/1"
typedef struct helo_host_timer { /* [any] */
  uint32_t struct_size;
  uint32_t reserved;
  /* on_timer(token) in delay_ns; a token that is set already is moved. AGAIN: 4,096 are set. Not
   * before start. */
  helo_status (*set)(helo_host_ctx*, uint64_t token, uint64_t delay_ns);
  /* Cancelled on [plugin], it does not fire any more; from another thread it may be on its way.
   * GONE: not set. */
  helo_status (*cancel)(helo_host_ctx*, uint64_t token);
  uint64_t (*now_ns)(helo_host_ctx*); /* a clock that never jumps; its zero means nothing */
} helo_host_timer;
typedef struct helo_plugin_timer { /* [plugin] */
  uint32_t struct_size;
  uint32_t reserved;
  void (*on_timer)(helo_plugin*, uint64_t token);
} helo_plugin_timer;

/* helo.command/1: commands of the plugin's own, `helo plugin call NAME COMMAND ARGUMENT...`. */
#define HELO_EXT_COMMAND "helo.command/1"
#define HELO_MAX_ANSWER_BYTES (1u << 20)
typedef struct helo_command {
  uint32_t struct_size;
  uint32_t reserved;
  const char* name;      /* [a-z][a-z0-9-]{0,31} */
  const char* arguments; /* for the help: "TEXT", "[N]"; may be "" */
  const char* summary;   /* one line */
} helo_command;
typedef struct helo_plugin_command {
  uint32_t struct_size;
  uint32_t count;
  const helo_command* const* commands; /* as long as the library is mapped */
  /* [plugin] `command` is an index into commands. Owes one answer, now or later. The arguments are
   * the operator's, at most 64 of together 1 MiB. */
  void (*on_command)(helo_plugin*, uint64_t call, uint32_t command, const helo_str* arguments,
                     uint32_t argument_count);
} helo_plugin_command;
typedef struct helo_host_command { /* [any] */
  uint32_t struct_size;
  uint32_t reserved;
  /* The one answer to a call: what is printed, or why it failed. GONE: answered already, or nobody
   * waits any more; TOO_BIG: above HELO_MAX_ANSWER_BYTES, still owed. */
  helo_status (*answer)(helo_host_ctx*, uint64_t call, int32_t failed, helo_str text);
} helo_host_command;

/* helo.peers/1: who is there. Reads a snapshot that may be 50 ms old. */
#define HELO_EXT_PEERS "helo.peers/1"
typedef struct helo_peer_info {
  uint32_t struct_size;
  uint32_t inbound; /* 1: it dialed us */
  uint8_t node_id[32];
  helo_str address;
  helo_str agent;  /* the remote's own words, any bytes: quote them */
  uint64_t age_ms; /* since it came up */
  uint64_t rtt_us; /* last round trip; 0: none yet */
} helo_peer_info;
typedef struct helo_host_peers { /* [any]; a visit runs within the call, and ends it by returning 0
                                  */
  uint32_t struct_size;
  uint32_t reserved;
  /* Every session of this plugin between its open and its close. */
  helo_status (*each_session)(helo_host_ctx*, void* arg,
                              int32_t (*visit)(void* arg, helo_session, const helo_session_info*));
  /* Every peer of the node, whether it shares a protocol with this plugin or not. AGAIN: the node
   * has no list to give now. May wait for one, up to a second. */
  helo_status (*each_peer)(helo_host_ctx*, void* arg,
                           int32_t (*visit)(void* arg, const helo_peer_info*));
} helo_host_peers;

#ifdef __cplusplus
}
#endif
#endif
