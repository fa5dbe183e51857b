"""The child process that draws: one Vega-Lite specification a line in, one SVG or null a line out.

A file of its own that imports nothing of the package: it is started by its path.
"""

import json
import sys


def main(home: str) -> None:
    """Draw the charts that come on standard input until it ends; a process of its own."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except ImportError:  # no POSIX system
        pass
    sys.path.append(home)
    import vl_convert

    for line in sys.stdin.buffer:
        try:
            drawn = vl_convert.vegalite_to_svg(
                json.loads(line), allowed_base_urls=[], show_warnings=False
            )
        except Exception:  # noqa: BLE001 - whatever is wrong with it, the next may be drawn
            drawn = None
        sys.stdout.buffer.write(json.dumps(drawn).encode() + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(sys.argv[1])
