"""``python -m tests.fuzz.child TARGET [--fault NUMBER] OPTION...``: one target, with options of libFuzzer."""

import sys

import atheris

with atheris.instrument_imports(include=["asgiadapt"]):
    from tests.fuzz.faults import FAULTS
    from tests.fuzz.targets import TARGETS


def main() -> None:
    _, name, *options = sys.argv
    if options[:1] == ["--fault"]:
        FAULTS[int(options[1])].plant()
        options = options[2:]
    target = TARGETS[name]
    executions = 0

    def run(data: bytes) -> None:
        nonlocal executions
        executions += 1
        try:
            target(data)
        except BaseException:
            print(f"failed at execution {executions}", file=sys.stderr)
            raise

    atheris.Setup([sys.argv[0], *options], run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
