/* SPDX-License-Identifier: Apache-2.0 */
/*
 * registry: the distribution protocol, in a process of its own: shale-transfer, which is nobody and
 * sees neither the store nor the files credentials come from.
 *
 * This header is all that others know of it: the protocol between shale-build (the parent) and
 * shale-transfer, as constants; there are no functions. The parent starts the program with a
 * SOCK_SEQPACKET socket as fd 3, as uid and gid REGISTRY_UID without groups or capabilities. Each
 * packet is one JSON object; a request has an "id" of the parent's choice, its answer carries the
 * same, and answers come in any order. The end of the socket ends the program at once.
 *
 *   {"id":1,"op":"open","registry":"host[:port]","repo":"a/b","push":false,"plain_http":false,
 *    "insecure":false,"user":"","password":"","identity_token":"","ca":"PEM","cert":"PEM",
 *    "key":"PEM","tokens":[{"scope":"..","token":"..","seconds":60}],
 *    "mirrors":[{the same, without push and mirrors}],"user_agent":"shale/x",
 *    "verify":true,"retries":5,"backoff_ms":250,"stall_s":30}
 *        -> {"id":1,"ok":true,"handle":1}; no traffic unless "verify", which proves the credentials
 *        (login) and may return "identity_token". The last three are for impatient callers.
 *   {"id":2,"op":"head","handle":1,"ref":"tag or digest","accept":[types]}
 *        -> "digest" (missing when the registry does not tell), "type", "size"
 *   {"id":3,"op":"manifest","handle":1,"ref":..,"accept":[..],"max":N} + an fd to write to
 *        -> "digest" (of the bytes), "type", "size"
 *   {"id":4,"op":"blob","handle":1,"digest":..,"size":N,"offset":K} + an fd to write to
 *        -> "bytes"; bytes [K,N) went to the fd, which is closed before the answer comes. Broken
 *        connections are resumed inside. size -1: not known.
 *   {"id":5,"op":"has","handle":1,"digest":..}          -> "found", "size"
 *   {"id":6,"op":"mount","handle":1,"digest":..,"from":"other/repo"}          -> "mounted"
 *   {"id":7,"op":"upload","handle":1,"digest":..,"size":N} + an fd to read from
 *        A file or memfd is read from its first byte by pread and is sent again after a broken
 *        connection; of a pipe nothing can be sent again. With a pipe digest may be "" and size -1:
 *        {"op":"finish","of":7,"digest":..,"size":N} tells them at the end.
 *   {"id":8,"op":"put","handle":1,"ref":..,"type":..} + a file or memfd       -> "digest"
 *   {"id":11,"op":"tags","handle":1} + a file or memfd to write to            -> "count"
 *        One tag a line, all pages of the list.
 *   {"id":12,"op":"referrers","handle":1,"digest":..} + a file or memfd to write to  -> "count"
 *        One descriptor a line, as JSON, in the registry's words. ENOENT: it keeps no such list.
 *   {"id":9,"op":"cancel","of":4}; the answer to 4 is ECANCELED unless it was on its way.
 *   {"id":10,"op":"close","handle":1}; the handle ends when its last request has.
 *
 *   {"op":"get","url":"https://host/path","user":"","password":"","ca":"PEM","etag":"",
 *    "modified":"","max":N,"user_agent":"shale/x"} + a file to write to; no handle
 *        -> "bytes", "etag", "modified" (as the server wrote them), "modified_s" (-1: not told), or
 *        "same": true when it is what etag or modified name. Credentials go to the URL's own
 *        origin; no challenge is answered. retries, backoff_ms and stall_s as for open.
 *
 * Failures: {"id":N,"ok":false,"code":errno value,"status":HTTP status or 0,"msg":"for people",
 * "wait_s":how long the registry asked to wait, if it did}. ENOENT not there; EACCES refused;
 * EAGAIN given up after retries; EPROTO odd peer; EBADMSG wrong digest or size; EFBIG too large;
 * ECONNREFUSED, EHOSTUNREACH, ETIMEDOUT the network; EINVAL a request that makes no sense;
 * ECANCELED; EPIPE the reader of the fd is gone. While running:
 * {"id":N,"event":"retry","msg":".."}, and of an upload {"id":N,"event":"progress","bytes":sent}.
 * A bearer token with which a request has succeeded is told once, to be given to a later process as
 * one of "tokens": {"id":N,"event":"token","endpoint":place among the mirrors, then the registry,
 * "scope":"..","token":"..","seconds":it is good for}.
 * No message ("msg") holds a credential, a token or the query of a URL.
 *
 * The parent checks every digest itself: it trusts nobody, this program included.
 */
#ifndef SHALE_REGISTRY_H
#define SHALE_REGISTRY_H

enum {
	REGISTRY_FD = 3,              /* the socket, in shale-transfer */
	REGISTRY_UID = 65534,         /* nobody */
	REGISTRY_PACKET_MAX = 131072, /* bytes of one packet */
	REGISTRY_MANIFEST_MAX = 4 << 20,
	REGISTRY_TAGS_MAX = 100000, /* of a repository; more are refused */
	REGISTRY_REFERRERS_MAX = 1000,
	REGISTRY_JOBS_MAX = 256, /* requests without an answer yet; more are refused */
	REGISTRY_HANDLES_MAX = 64,
	REGISTRY_TOKEN_MAX = 8 << 10, /* bytes of one that is told */
	REGISTRY_BLOBS_AT_ONCE = 16,  /* more wait inside for their turn */
};

#define REGISTRY_PROGRAM "shale-transfer"

/* Names of "op". */
#define REGISTRY_OPEN      "open"
#define REGISTRY_CLOSE     "close"
#define REGISTRY_HEAD      "head"
#define REGISTRY_MANIFEST  "manifest"
#define REGISTRY_BLOB      "blob"
#define REGISTRY_HAS       "has"
#define REGISTRY_MOUNT     "mount"
#define REGISTRY_UPLOAD    "upload"
#define REGISTRY_FINISH    "finish"
#define REGISTRY_PUT       "put"
#define REGISTRY_TAGS      "tags"
#define REGISTRY_REFERRERS "referrers"
#define REGISTRY_CANCEL    "cancel"
#define REGISTRY_GET       "get"

#endif
