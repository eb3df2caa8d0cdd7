/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scope: systemd asked by D-Bus, in a program of its own: shale-scope. The runtime is linked
 * statically and starts in a millisecond; libsystemd is loaded only where systemd is wanted.
 *
 * This header is all that others know of it. The program, as root, reads one JSON object from
 * stdin:
 *
 *   {"verb":"start","unit":"a.scope","caller":9,"properties":[["PIDs","au",[7]], ..]}
 *        Makes the scope and waits until it is there. -> {"group":"/a.slice/a.scope"}
 *   {"verb":"set","unit":..,"caller":..,"properties":[..]}  until the next boot         -> {}
 *   {"verb":"stop","unit":..,"caller":..,"description":".."}
 *        Waits until it is gone and its name is free; one that is not there, or described
 *        otherwise, is left alone. -> {}
 *
 * A property is name, signature and value; arrays, and of single types bituys. A number above
 * INT64_MAX is written as the negative one of the same bits.
 *
 * The answer goes to stdout; a failure is {"code":errno value,"msg":"for people"}. It comes within
 * SCOPE_WAIT_S. The program dies with its parent, whose pid "caller" is: with another one it asks
 * nothing, for then he was killed before, and nobody would stop what it starts.
 */
#ifndef SHALE_SCOPE_H
#define SHALE_SCOPE_H

enum { SCOPE_WAIT_S = 60, SCOPE_PLAN_MAX = 1 << 20 };

#define SCOPE_PROGRAM "shale-scope"

#define SCOPE_START "start"
#define SCOPE_SET   "set"
#define SCOPE_STOP  "stop"

#endif
