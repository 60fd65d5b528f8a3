"""The modules that PyTorch scripts import by name, and what they say without a GPU."""

import pytest

import iskra
from iskra import accelerator, backends, cuda, serialization, utils, version
from iskra.version import TorchVersion

pytestmark = pytest.mark.skipif("iskra.cuda.is_available()", reason="there is a GPU")


def test_cuda_says_that_it_is_not_there():
    assert not cuda.is_available() and cuda.device_count() == 0 and not cuda.is_initialized()
    assert cuda.memory_allocated() == cuda.max_memory_allocated("cuda:0") == 0
    assert cuda.get_rng_state_all() == [] and cuda.memory_stats() == {}
    for harmless in (cuda.empty_cache, cuda.seed, cuda.seed_all, cuda.reset_peak_memory_stats):
        assert harmless() is None
    assert cuda.manual_seed(1) is cuda.manual_seed_all(1) is None
    with cuda.device(None), cuda.device(-1), cuda.stream(None), cuda.device_of(iskra.ones(1)):
        cuda.set_device(-1)


@pytest.mark.parametrize(
    "name", ["current_device", "synchronize", "get_device_name", "init", "Stream", "Event"]
)
def test_cuda_refuses_what_needs_a_device(name):
    with pytest.raises(AssertionError, match=f"cuda.{name}.*is_available"):
        getattr(cuda, name)()


def test_tensors_cannot_go_to_a_device():
    with pytest.raises(RuntimeError, match="cuda.*is_available"):
        iskra.ones(1).to("cuda")
    with pytest.raises(RuntimeError, match="cuda.*is_available"):
        iskra.ones(1).cuda()
    with pytest.raises(AssertionError, match="cuda.device"):
        cuda.device("cuda:0")
    with pytest.raises(ValueError, match="cpu"):
        cuda.device("cpu")


def test_accelerator():
    assert not accelerator.is_available() and accelerator.device_count() == 0
    assert accelerator.current_accelerator() is None
    with pytest.raises(RuntimeError, match="accelerator.synchronize"):
        accelerator.synchronize()


def test_switches_can_be_set():
    cudnn = backends.cudnn
    before = cudnn.benchmark
    cudnn.benchmark = True
    with cudnn.flags(enabled=False, deterministic=True):
        assert not cudnn.enabled and cudnn.deterministic and not cudnn.benchmark
    assert cudnn.enabled and not cudnn.deterministic and cudnn.benchmark
    cudnn.benchmark = before
    backends.cuda.matmul.allow_tf32 = True
    assert backends.cuda.matmul.allow_tf32
    backends.cuda.matmul.allow_tf32 = False
    with pytest.raises(AttributeError, match="allow_tf32"):
        backends.cuda.matmul.allow_tf23 = True
    with backends.cuda.sdp_kernel(enable_flash=False):
        assert not backends.cuda.flash_sdp_enabled() and backends.cuda.math_sdp_enabled()
    assert backends.cuda.flash_sdp_enabled()
    for library in (cudnn, backends.mps, backends.mkl, backends.openmp, backends.mkldnn):
        assert library.is_available() is False


@pytest.mark.parametrize(
    "name", ["nowhere", "cuda.nowhere", "utils.nowhere", "backends.nowhere", "linalg.nowhere"]
)
def test_unknown_names(name):
    *path, last = name.split(".")
    place = iskra
    for part in path:
        place = getattr(place, part)
    with pytest.raises(AttributeError, match=last):
        getattr(place, last)


def test_namespaces_of_operators_hold_the_operators():
    assert iskra.special.expm1 is iskra.expm1
    assert iskra.special.log1p(iskra.zeros(1)).tolist() == [0.0]
    assert set(iskra.linalg.__all__) <= set(dir(iskra.linalg))


def test_utils():
    assert utils.data.dataset.Dataset is iskra.data.Dataset
    assert utils.data.dataloader.DataLoader is utils.data.DataLoader
    assert utils.data.distributed.DistributedSampler is iskra.data.DistributedSampler
    assert callable(utils.checkpoint.checkpoint)
    t = iskra.arange(3)
    back = utils.dlpack.from_dlpack(utils.dlpack.to_dlpack(t))
    back[0] = 7
    assert t.tolist() == [7, 1, 2]


def test_versions_compare_by_numbers():
    v = TorchVersion("2.13.0+iskra.0.1.0")
    assert v > "2.9" and v >= "2.13" and v >= (2, 13) and v < (3,) and v <= "2.13.0"
    assert not v < "1.13" and v == "2.13.0+iskra.0.1.0" and v != "2.12.0"
    assert v.split(".")[:2] == ["2", "13"] and hash(v) == hash(str(v))
    assert version.cuda is None and version.torch.startswith("2.")
    assert version.__version__ == iskra.__version__


def test_settings_of_serialization():
    assert serialization.get_default_load_endianness() is None
    with pytest.raises(TypeError, match="LoadEndianness"):
        serialization.set_default_load_endianness("little")
    assert serialization.load is iskra.load
