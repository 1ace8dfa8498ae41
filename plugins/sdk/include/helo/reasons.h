/* helo/reasons.h: why a session or connection ended, for on_close. C11. Numbers 0 to 99 travel
 * between nodes, 100 and above are a node's own findings. They are never reused, and a newer node
 * may know more: treat an unknown one as INTERNAL. Written from the node's table of reasons, and
 * held to it by a test. */
#ifndef HELO_REASONS_H_
#define HELO_REASONS_H_

enum {
  HELO_REASON_ACCEPT = 0,         /* The connection was accepted. */
  HELO_REASON_FULL = 1,           /* The node has no free slot for another peer. */
  HELO_REASON_BUSY = 2,           /* The node is too busy to take another handshake now. */
  HELO_REASON_RATE_LIMITED = 3,   /* Too many attempts came from this source in a short time. */
  HELO_REASON_BANNED = 4,         /* This peer is not welcome for a while. */
  HELO_REASON_EVICTED = 5,        /* The peer was closed to make room for another. */
  HELO_REASON_DUPLICATE = 6,      /* A connection between these two nodes already stands. */
  HELO_REASON_REPLACED = 7,       /* A newer connection of the same peer took this one's place. */
  HELO_REASON_SELF = 8,           /* The node reached itself. */
  HELO_REASON_WRONG_NETWORK = 10, /* The two nodes are on different networks. */
  HELO_REASON_WRONG_GENESIS = 11, /* The two nodes have different genesis values. */
  HELO_REASON_NO_SHARED_CAPABILITY =
      12, /* The two nodes share no capability that one of them requires. */
  HELO_REASON_MINOR_TOO_OLD =
      13, /* The protocol's minor version of one side is too old for the other. */
  HELO_REASON_UNEXPECTED_ID = 14,    /* Another key answered than the one that was asked for. */
  HELO_REASON_PROBE = 15,            /* The dialer only asked whether it would be accepted. */
  HELO_REASON_SHUTTING_DOWN = 20,    /* The node is shutting down. */
  HELO_REASON_DROPPED = 21,          /* The operator dropped this peer. */
  HELO_REASON_PLUGIN_POLITE = 22,    /* A plugin closed the connection politely. */
  HELO_REASON_MALFORMED = 30,        /* A message broke the encoding or value rules. */
  HELO_REASON_UNEXPECTED = 31,       /* A message came at a time when it is not allowed. */
  HELO_REASON_TOO_LARGE = 32,        /* A message was larger than its limit. */
  HELO_REASON_UNKNOWN_CHANNEL = 33,  /* A message used a channel or a type that is not open. */
  HELO_REASON_FLOOD = 34,            /* Messages came faster than the protocol allows. */
  HELO_REASON_PLUGIN_VIOLATION = 35, /* A plugin found that the peer broke the plugin's protocol. */
  HELO_REASON_TLS_MISUSE = 36,       /* TLS was used in a way that helo/1 forbids. */
  HELO_REASON_STAGE_TIMEOUT = 40,    /* A stage of the handshake took too long. */
  HELO_REASON_PING_TIMEOUT = 41,     /* Nothing was heard from the peer for too long. */
  HELO_REASON_NOT_READING = 42,      /* The peer did not read what was sent to it. */
  HELO_REASON_PLUGIN_SLOW = 43,      /* A plugin of the closing node could not keep up. */
  HELO_REASON_INTERNAL =
      44, /* The node could not go on with this connection for a reason of its own. */
  HELO_REASON_PLUGIN_GONE = 45,      /* The plugin that served this is gone. */
  HELO_REASON_RESOLVE = 100,         /* The host name could not be resolved. */
  HELO_REASON_REFUSED = 101,         /* The connection was refused: nothing listens on that port. */
  HELO_REASON_CONNECT_TIMEOUT = 102, /* The connection attempt was not answered in time. */
  HELO_REASON_UNREACHABLE = 103,     /* There is no route to that address. */
  HELO_REASON_FILTERED = 104,        /* A firewall forbade the connection. */
  HELO_REASON_RESET = 105,           /* The other side reset the connection. */
  HELO_REASON_TRUNCATED = 106,       /* The connection ended without a goodbye. */
  HELO_REASON_EOF_EARLY =
      107, /* The other side closed the connection before the handshake was done. */
  HELO_REASON_NOT_TLS = 110,          /* What answered does not speak TLS. */
  HELO_REASON_WRONG_ALPN = 111,       /* What answered speaks TLS but not helo/1. */
  HELO_REASON_NO_CERTIFICATE = 112,   /* The other side showed no certificate. */
  HELO_REASON_BAD_CERTIFICATE = 113,  /* The other side's certificate is not one of helo/1. */
  HELO_REASON_TLS_ALERT = 114,        /* TLS failed between the two nodes. */
  HELO_REASON_GATE_NOT_WELCOME = 115, /* The other node refuses this address before TLS. */
  HELO_REASON_GATE_NO_ROOM =
      116, /* The other node had no room for another handshake, or this address tries too fast. */
  HELO_REASON_NO_FD = 120, /* This node has no file descriptor left for it. */
  HELO_REASON_NO_LOCAL_ADDRESS =
      121, /* This machine has no free local address or port for the connection. */
  HELO_REASON_NO_SLOT = 122,  /* This node has no free outbound slot. */
  HELO_REASON_CANCELLED = 123 /* This node gave the attempt up itself. */
};

#endif
