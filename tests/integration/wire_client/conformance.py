#!/usr/bin/env python3
"""Holds a helod to the protocol page, from outside, with a client that knows nothing but that page.

  conformance.py build/release/bin/helod            every check
  conformance.py build/release/bin/helod -k malformed -j 1 -v
  conformance.py --list

One line a check, PASS or FAIL with the reason; exit 1 if any failed. It starts its own nodes, in folders and on ports
of their own. What neither Python's TLS nor `openssl` can send, such as forged keys, is in tests/unit/tls.
"""

import argparse
import concurrent.futures
import os
import sys
import time
import traceback

import checks_acceptor  # noqa: F401  the import registers the checks
import checks_dialer  # noqa: F401
import checks_identity  # noqa: F401
import checks_session  # noqa: F401
import checks_tls  # noqa: F401
import conformance_kit as kit


def run(lab, name, function, options, verbose):
    begun = time.monotonic()
    try:
        function(lab, None if options is None else lab.shared_node(options))
        why = None
    except Exception as error:  # a check that breaks is a check that failed
        why = f"{type(error).__name__}: {error}" if not isinstance(error, AssertionError) else str(error)
        if verbose:
            why += "\n" + traceback.format_exc()
    took = time.monotonic() - begun
    # One write, or lines of several threads mix.
    print(f"{'FAIL' if why else 'PASS'} {name} ({took:.2f} s){': ' + why if why else ''}\n", end="", flush=True)
    return why is None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("helod", nargs="?", default=str(kit.HELOD))
    parser.add_argument("-k", default="", metavar="TEXT", help="only checks with TEXT in their name")
    parser.add_argument("-j", type=int, default=8, metavar="N", help="checks at once (default %(default)s)")
    parser.add_argument("-v", action="store_true", help="show where a check failed")
    parser.add_argument("--list", action="store_true", help="name the checks and exit")
    options = parser.parse_args()
    chosen = [one for one in kit.CHECKS if options.k in one[0]]
    if options.list:
        print("\n".join(one[0] for one in chosen))
        return 0
    if not chosen:
        parser.error(f"no check has {options.k!r} in its name")
    if not os.access(options.helod, os.X_OK):
        parser.error(f"{options.helod} is not there or not executable; build it, or name another")
    lab = kit.Lab(options.helod)
    try:
        with concurrent.futures.ThreadPoolExecutor(options.j) as pool:
            results = list(pool.map(lambda one: run(lab, *one, options.v), chosen))
    finally:
        wrong = lab.close()
    for one in wrong:
        print(f"FAIL node: {one}")
    failed = results.count(False) + len(wrong)
    print(f"{results.count(True)} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
