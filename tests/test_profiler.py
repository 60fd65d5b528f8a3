"""profile and record_function: what is counted, and how it is summed and shown."""

import gzip
import json

import pytest

import iskra as torch
from iskra import profiler
from iskra.profiler import ProfilerActivity, profile, record_function


def counts(prof):
    return {row.key: row.count for row in prof.key_averages()}


def test_operators_are_counted_while_the_block_lasts():
    x = torch.ones(2, 3, requires_grad=True)
    with profile(activities=[ProfilerActivity.CPU]) as prof:
        y = x.exp().exp() + 1
        y.detach().mul_(2)
    x.sin()
    assert counts(prof) == {"exp": 2, "add": 1, "detach": 1, "mul_": 1}
    assert y.requires_grad and len(prof.events()) == 5


def test_a_failing_call_is_timed_and_nothing_stays_open():
    with profile() as prof:
        with pytest.raises(RuntimeError):
            torch.ones(2, 3) @ torch.ones(2, 3)
    assert counts(prof) == {"ones": 2, "matmul": 1}
    assert len(prof._inside) == 1


def test_times_of_inner_calls_are_counted_once():
    with profile() as prof:
        with record_function("outer"):
            torch.ones(10).exp()
    rows = {row.key: row for row in prof.key_averages()}
    inner = rows["ones"].cpu_time_total + rows["exp"].cpu_time_total
    outer = rows["outer"]
    assert outer.cpu_time_total >= inner > 0
    assert outer.self_cpu_time_total == pytest.approx(outer.cpu_time_total - inner)
    total = prof.key_averages().total_average()
    assert total.cpu_time_total == pytest.approx(outer.cpu_time_total) and total.count == 3


def test_named_functions_outside_a_profile_just_run():
    @record_function("named")
    def f(x):
        return x + 1

    assert f(1) == 2
    with profile() as prof:
        assert f(1) == 2
    assert counts(prof) == {"named": 1}


def test_shapes():
    with profile(record_shapes=True) as prof:
        torch.mm(torch.ones(2, 3), torch.ones(3, 4))
        torch.mm(torch.ones(1, 3), torch.ones(3, 4))
    rows = prof.key_averages(group_by_input_shape=True)
    assert [r.input_shapes for r in rows if r.key == "mm"] == [[[2, 3], [3, 4]], [[1, 3], [3, 4]]]
    assert counts(prof)["mm"] == 2


def test_the_table_sorts_and_ends():
    with profile() as prof:
        torch.ones(2).exp().exp()
    lines = prof.key_averages().table(sort_by="count", row_limit=1).splitlines()
    assert lines[1].split()[0] == "Name" and lines[1].endswith("# of Calls")
    assert lines[3].split()[0] == "exp" and lines[3].split()[-1] == "2"
    assert lines[5].startswith("Self CPU time total") and len(lines) == 6
    with pytest.raises(AttributeError):
        prof.key_averages().table(sort_by="nonsense")
    assert "Self CPU time total: 0.000us" in profile().key_averages().table()


def test_start_stop_and_trace(tmp_path):
    ready = []
    prof = profile(on_trace_ready=ready.append)
    prof.start()
    torch.ones(2).exp()
    prof.step()
    prof.stop()
    assert ready == [prof]
    prof.export_chrome_trace(tmp_path / "trace.json")
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert [e["name"] for e in events] == ["ones", "exp"]
    assert all(e["dur"] > 0 for e in events)


SCHEDULES = [
    {"wait": 1, "warmup": 1, "active": 2, "repeat": 2, "skip_first": 1},
    {"wait": 0, "warmup": 1, "active": 1},
    {"wait": 2, "warmup": 1, "active": 1, "skip_first": 2, "skip_first_wait": 1},
    {"wait": 3, "warmup": 2, "active": 1, "repeat": 1, "skip_first_wait": 1},
]


@pytest.mark.parametrize("settings", SCHEDULES)
def test_schedules_are_pytorchs(settings):
    oracle = pytest.importorskip("torch")
    mine, other = profiler.schedule(**settings), oracle.profiler.schedule(**settings)
    assert [mine(i).name for i in range(20)] == [other(i).name for i in range(20)]


@pytest.mark.parametrize("settings", [
    {"wait": -1, "warmup": 0, "active": 1}, {"wait": 0, "warmup": 0, "active": 0},
])
def test_what_is_no_schedule(settings):
    with pytest.raises(AssertionError, match="schedule"):
        profiler.schedule(**settings)


@pytest.mark.parametrize("steps, saved", [
    (10, [(4, 2), (8, 2)]), (5, [(4, 2)]), (7, [(4, 2), (7, 1)]), (1, []),
])
def test_a_schedule_tells_which_steps_are_recorded(steps, saved):
    seen = []
    plan = profiler.schedule(wait=1, warmup=1, active=2, repeat=2)

    def note(prof):
        seen.append((prof.step_num, sum(e.count for e in prof.key_averages())))

    with profiler.profile(schedule=plan, on_trace_ready=note) as prof:
        for _ in range(steps):
            torch.ones(2)
            prof.step()
    assert seen == saved


def test_blocks_are_recorded_by_schedule_too():
    with profiler.profile(schedule=profiler.schedule(wait=1, warmup=0, active=1)) as prof:
        for _ in range(2):
            with profiler.record_function("block"):
                pass
            if not prof.step_num:
                prof.step()
    assert [(e.key, e.count) for e in prof.key_averages()] == [("block", 1)]


@pytest.mark.parametrize("use_gzip", [False, True])
def test_traces_for_tensorboard(tmp_path, use_gzip):
    folder = tmp_path / "traces"
    handler = profiler.tensorboard_trace_handler(folder, "me", use_gzip)
    with profiler.profile(on_trace_ready=handler):
        torch.ones(2)
    (path,) = folder.iterdir()
    assert path.name.startswith("me.")
    assert path.name.endswith(".pt.trace.json.gz" if use_gzip else ".pt.trace.json")
    data = path.read_bytes()
    trace = json.loads(gzip.decompress(data) if use_gzip else data)
    assert [e["name"] for e in trace["traceEvents"]] == ["ones"]
