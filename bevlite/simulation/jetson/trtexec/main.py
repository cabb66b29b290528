"""`trtexec`: from the command line to the last line."""

from __future__ import annotations

from bevlite.simulation.jetson.folder import BoardFolder
from bevlite.simulation.jetson.releases import Release
from bevlite.simulation.jetson.trtexec import inference, loader, outputs, profile, report
from bevlite.simulation.jetson.trtexec.banner import print_device, print_options
from bevlite.simulation.jetson.trtexec.files import write_bytes, write_json
from bevlite.simulation.jetson.trtexec.flags import FlagError, help_text, parse
from bevlite.simulation.jetson.trtexec.layer_info import inspector_json
from bevlite.simulation.jetson.trtexec.log import Failure, Log
from bevlite.simulation.jetson.trtexec.options import Options, read_options
from bevlite.simulation.jetson.trtexec.plan import Plan

NOT_SAVED = ("Saving engine to file failed.", "Engine set up failed")


def main(board: BoardFolder, arguments: list[str]) -> int:
    """Run; 0 for PASSED, 1 for FAILED."""
    release = board.release
    log = Log(board, release, arguments, verbose="--verbose" in arguments)
    log.start()
    if "--help" in arguments or "-h" in arguments:
        log.plain(help_text(release))
        return log.end(True)
    try:
        options = read_options(parse(arguments, release), release)
    except FlagError as error:
        log.plain(help_text(release))
        log.error(str(error))
        return log.end(False)
    try:
        _work(log, board, options, release)
    except Failure as failure:
        log.error(*failure.lines)
        return log.end(False)
    except FlagError as error:
        log.error(str(error))
        return log.end(False)
    return log.end(True)


def _work(log: Log, board: BoardFolder, options: Options, release: Release) -> None:
    if options.plan_version_only and options.load_engine is not None:
        loader.print_version(log, options.load_engine)
        return
    print_options(log, options, release)
    print_device(log, board, release)
    if release.number >= 8600:
        log.info("Loading standard plugins")
    plan = _engine(log, board, options, release)
    if options.export_layer_info is not None:
        write_json(board, options.export_layer_info, inspector_json(plan, release) + "\n")
    if options.dump_layer_info:
        log.info("Layer Information:", inspector_json(plan, release))
    if options.build_only:
        log.info(f"Skipped inference phase since {options.skip_name} is added.")
        return
    _infer(log, board, options, release, plan)


def _engine(log: Log, board: BoardFolder, options: Options, release: Release) -> Plan:
    if options.load_engine is not None:
        return loader.load(log, board, release, options.load_engine)
    from bevlite.simulation.jetson.trtexec.builder import build  # a run from a plan needs no onnx

    plan = build(log, board, options, release)
    if options.save_engine is not None:
        write_bytes(board, options.save_engine, plan.to_bytes(), *NOT_SAVED)
    loader.start(log, board, plan)
    return plan


def _infer(log: Log, board: BoardFolder, options: Options, release: Release, plan: Plan) -> None:
    inference.create_context(log, plan, release)
    source = inference.new_source(board)
    inputs = outputs.bind_inputs(log, plan, options.load_inputs, source)
    execution = inference.make_ready(log, board, plan, options, release, source)
    log.info("Starting inference")
    trace = inference.run(board, execution, options)
    count = len(trace.compute_ms)
    if options.profiles_inline:
        log.warn(
            "The network timing report will not be accurate due to extra synchronizations when profiler is enabled.",
            "Add --separateProfileRun to profile layer timing in a separate run.",
        )
    else:
        report.print_times(log, trace, options, release)
    if options.export_times is not None:
        write_json(board, options.export_times, report.times_json(trace))
    if options.dump_profile or options.export_profile is not None:
        layers = inference.run_profiled(board, execution, count)
        if options.dump_profile:
            profile.print_profile(log, layers, count, release)
        if options.export_profile is not None:
            write_json(board, options.export_profile, profile.profile_json(layers, count))
    if options.dump_output or options.dump_raw or options.export_output is not None:
        _give_outputs(log, board, options, plan, inputs)


def _give_outputs(log: Log, board: BoardFolder, options: Options, plan: Plan, inputs: outputs.Arrays) -> None:
    results = outputs.compute(board, plan, inputs)
    if options.export_output is not None:
        outputs.write_output_json(board, options.export_output, plan, results)
    if options.dump_raw:
        outputs.write_raw(log, board, plan, inputs, results)
    if options.dump_output:
        log.info("Output Tensors:")
        for name, values in results.items():
            shown = " ".join(f"{v:g}" for v in values.ravel()[:1000].tolist())
            log.info(f"{name}: ({'x'.join(map(str, values.shape))})", shown)
