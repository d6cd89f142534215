/*
 * Two protocols of socklab-core for C: the client of the math quiz, and chat.
 *
 * A session is a protocol end with its buffers. It never reads, writes, waits or allocates: the caller does.
 * Ask it what it needs, and do that:
 *
 *     transport --> recv_space, received    --> [session] --> poll: events
 *     transport <-- transmit,   transmitted <-- [session] <-- say: commands
 *
 *     for (;;) {
 *         switch (socklab_math_client_poll(&session, &event)) {
 *         case SOCKLAB_EVENT:    look at event                                                   break;
 *         case SOCKLAB_READ:     read into ..._recv_space, then ..._received or ..._ended        break;
 *         case SOCKLAB_WRITE:    write ..._transmit, then ..._transmitted or ..._write_ended     break;
 *         case SOCKLAB_FLUSH:    flush what buffers there are, then ..._flushed                  break;
 *         case SOCKLAB_BOUNDARY: pause, or do not                                                break;
 *         case SOCKLAB_CLOSE:    close the connection; the session is complete                   return;
 *         case SOCKLAB_FAILED:   event says why                                                  return;
 *         default:               reset the connection                                            return;
 *         }
 *     }
 *
 * Memory belongs to the caller. A session is a plain value: it can be static, on the stack or in allocated memory, can
 * be copied with memcpy, and needs no clean-up. Its type is an array of uintptr_t, so the compiler aligns it.
 *
 *                          32 bits     64 bits     alignment
 *     socklab_math_client    68          96        that of uintptr_t
 *     socklab_chat         2080        2112        that of uintptr_t
 *
 * Flash in bytes on a Cortex-M3, built with opt-level "s" and with every function below in use, without memcpy and the
 * like: math client 1776, chat 2213, both 3887. A linker that removes unused functions needs less.
 *
 * Rules:
 * - No pointer may be null, except where that is stated.
 * - Initialise a session with its init function before any other call.
 * - A session may be used by one thread or interrupt at a time. Different sessions do not share anything.
 * - A pointer into a session (recv_space, transmit, text of an event) is valid until the next call with that session.
 *
 * No function here panics, blocks or calls back. The calls of C that they need are memcpy, memmove and memset.
 */
#ifndef SOCKLAB_H
#define SOCKLAB_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Result of a poll function: what the session needs next. */
typedef uint8_t socklab_want;
enum {
    SOCKLAB_EVENT = 0,         /* Something happened: the event is filled in. Then poll again. */
    SOCKLAB_READ = 1,          /* Read. What was written has been flushed. */
    SOCKLAB_WRITE = 2,         /* Write the bytes of transmit. */
    SOCKLAB_FLUSH = 3,         /* Flush the transport, then call flushed. */
    SOCKLAB_READ_OR_WRITE = 4, /* Read and write, whichever is possible first. A command may be given. */
    SOCKLAB_COMMAND = 5,       /* It is your turn: give a command. */
    SOCKLAB_BOUNDARY = 6,      /* Pause, or do not: what follows has to be a write of its own. */
    SOCKLAB_CLOSE = 7,         /* The session is complete and everything has been sent: close the connection. */
    SOCKLAB_ABORT = 8,         /* Reset the connection. */
    SOCKLAB_FAILED = 9         /* The session failed, and the event says why: close the connection. */
};

/* How a stream ended. */
typedef uint8_t socklab_end;
enum {
    SOCKLAB_CLOSED = 0,   /* The peer closed its sending side: read returned 0. */
    SOCKLAB_RESET = 1,    /* The connection was reset, or the transport failed. */
    SOCKLAB_TIMED_OUT = 2 /* You stopped waiting. */
};

/* Result of a command. A command that was not accepted has changed nothing. */
typedef uint8_t socklab_result;
enum {
    SOCKLAB_OK = 0,
    SOCKLAB_OUT_OF_TURN = 1,     /* It is not your turn, or the session is over. */
    SOCKLAB_OUTPUT_FULL = 2,     /* Write what is pending and give the command again. */
    SOCKLAB_TOO_LONG = 3,        /* A line has at most 1024 bytes. */
    SOCKLAB_NEWLINE = 4,         /* The line contains a newline. */
    SOCKLAB_CARRIAGE_RETURN = 5, /* The line ends with a carriage return, which the peer would remove. */
    SOCKLAB_INVALID = 6          /* The protocol cannot express it for another reason. */
};

#if UINTPTR_MAX == 0xffffffff
#define SOCKLAB_MATH_CLIENT_SIZE 68
#define SOCKLAB_CHAT_SIZE 2080
#elif UINTPTR_MAX == 0xffffffffffffffff
#define SOCKLAB_MATH_CLIENT_SIZE 96
#define SOCKLAB_CHAT_SIZE 2112
#else
#error "socklab.h knows the sizes for pointers of 32 and 64 bits"
#endif

/* ---- The client of the math quiz: it answers every question by itself. ---- */

typedef struct socklab_math_client {
    uintptr_t opaque[SOCKLAB_MATH_CLIENT_SIZE / sizeof(uintptr_t)];
} socklab_math_client;

/* kind of an event, and of a failure */
enum {
    SOCKLAB_MATH_QUESTION = 0,  /* a, b, sum. The sum, modulo 2^32, is already written. */
    SOCKLAB_MATH_SECRET = 1,    /* secret */
    SOCKLAB_MATH_REJECTED = 2,  /* The server closed the connection after an answer: it was wrong in its view. */
    SOCKLAB_MATH_TAG = 3,       /* byte: a message starts with it, and it is neither 'Q' nor 'S'. */
    SOCKLAB_MATH_TRUNCATED = 4, /* end, got: the stream ended after so many bytes of a message; 0 for between two. */
    SOCKLAB_MATH_OTHER = 5      /* Another failure, which this version does not have. */
};

/* What happened, or why the session failed. Fields that the kind does not name are 0. */
typedef struct socklab_math_event {
    uint32_t a;
    uint32_t b;
    uint32_t sum;
    uint32_t answered; /* Number of questions answered so far; always valid. */
    uint8_t secret[8]; /* Not terminated by a zero. */
    uint8_t kind;
    socklab_end end;
    uint8_t byte;
    uint8_t got;
} socklab_math_event;

/* Writes a session that has received nothing into any memory of the right size and alignment. */
void socklab_math_client_init(socklab_math_client *session);

/* Advances until there is an event, or something has to be done, and returns which. Calling it again has no effect,
 * except after SOCKLAB_EVENT and SOCKLAB_BOUNDARY, which are reported once. */
socklab_want socklab_math_client_poll(socklab_math_client *session, socklab_math_event *event);

/* Returns the space for bytes from the transport. Its size is 0 while the buffer is full: do not read then, since a
 * read into no space returns 0, which is not the end of the stream. */
uint8_t *socklab_math_client_recv_space(socklab_math_client *session, size_t *size);

/* Reports that n bytes from the transport stand at the front of that space. */
void socklab_math_client_received(socklab_math_client *session, size_t n);

/* Returns the bytes to send, oldest first. */
const uint8_t *socklab_math_client_transmit(const socklab_math_client *session, size_t *size);

/* Reports that the transport took the first n of them. */
void socklab_math_client_transmitted(socklab_math_client *session, size_t n);

/* Reports that the transport has been flushed. */
void socklab_math_client_flushed(socklab_math_client *session);

/* Reports that the stream from the peer has ended. The next poll says what that means. */
void socklab_math_client_ended(socklab_math_client *session, socklab_end how);

/* Reports that the peer accepts no more bytes: a write failed. Pending bytes are dropped. */
void socklab_math_client_write_ended(socklab_math_client *session, socklab_end how);

/* Reports that you stop waiting. The next poll says what was missing. */
void socklab_math_client_time_out(socklab_math_client *session);

/* Returns the size of a session in the library: SOCKLAB_MATH_CLIENT_SIZE, if header and library fit together. */
size_t socklab_math_client_size(void);

/* ---- A conversation in lines, in turns until one side says BYE. ---- */

typedef struct socklab_chat {
    uintptr_t opaque[SOCKLAB_CHAT_SIZE / sizeof(uintptr_t)];
} socklab_chat;

/* side of a conversation */
enum {
    SOCKLAB_CHAT_CLIENT = 0, /* Listens first. */
    SOCKLAB_CHAT_SERVER = 1, /* Speaks first. */
    SOCKLAB_CHAT_DUPLEX = 2  /* Either side of a conversation without turns. */
};

/* kind of an event, and of a failure */
enum {
    SOCKLAB_CHAT_LINE = 0,      /* text, size */
    SOCKLAB_CHAT_BYE = 1,       /* text, size: the last line. */
    SOCKLAB_CHAT_LEFT = 2,      /* end: the stream ended between two lines. */
    SOCKLAB_CHAT_TRUNCATED = 3, /* end, size: the stream ended after so many bytes of a line. */
    SOCKLAB_CHAT_NOT_A_LINE = 4 /* The peer broke the protocol: a line has more than 1024 bytes. */
};

/* What happened, or why the session failed. Fields that the kind does not name are 0. */
typedef struct socklab_chat_event {
    const uint8_t *text; /* The line without its newline, not terminated by a zero. */
    size_t size;
    uint8_t kind;
    socklab_end end;
} socklab_chat_event;

/* Writes a session in which nothing has been said into any memory of the right size and alignment. An unknown side is
 * SOCKLAB_CHAT_CLIENT. */
void socklab_chat_init(socklab_chat *session, uint8_t side);

/* Says a line, without its newline. text may be null if size is 0, and must not point into the session. */
socklab_result socklab_chat_say(socklab_chat *session, const uint8_t *text, size_t size);

/* As those of socklab_math_client. */
socklab_want socklab_chat_poll(socklab_chat *session, socklab_chat_event *event);
uint8_t *socklab_chat_recv_space(socklab_chat *session, size_t *size);
void socklab_chat_received(socklab_chat *session, size_t n);
const uint8_t *socklab_chat_transmit(const socklab_chat *session, size_t *size);
void socklab_chat_transmitted(socklab_chat *session, size_t n);
void socklab_chat_flushed(socklab_chat *session);
void socklab_chat_ended(socklab_chat *session, socklab_end how);
void socklab_chat_write_ended(socklab_chat *session, socklab_end how);
void socklab_chat_time_out(socklab_chat *session);
size_t socklab_chat_size(void);

#if !defined(__cplusplus) && defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L
_Static_assert(sizeof(socklab_math_client) == SOCKLAB_MATH_CLIENT_SIZE, "size of a math client");
_Static_assert(_Alignof(socklab_math_client) == _Alignof(uintptr_t), "alignment of a math client");
_Static_assert(sizeof(socklab_chat) == SOCKLAB_CHAT_SIZE, "size of a chat session");
_Static_assert(_Alignof(socklab_chat) == _Alignof(uintptr_t), "alignment of a chat session");
_Static_assert(sizeof(socklab_math_event) == 28, "size of an event of the math quiz");
_Static_assert(sizeof(socklab_chat_event) == 3 * sizeof(uintptr_t), "size of an event of a conversation");
#endif

#ifdef __cplusplus
}
#endif

#endif
