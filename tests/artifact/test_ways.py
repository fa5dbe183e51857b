"""The ways in which people save a model: each is read, or ends in one sentence that says what to do."""

import copy
import json
import time
from collections import OrderedDict, defaultdict

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import audit
from audit.errors import AuditError

K, WIDTH = 3, 4


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(WIDTH, 8), nn.BatchNorm1d(8), nn.ReLU())
        self.head = nn.Linear(8, K)

    def forward(self, x):
        return self.head(self.body(x))


class Normed(nn.Module):
    """Weights normalised in torch's older way."""

    def __init__(self, normalise=torch.nn.utils.weight_norm):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(WIDTH, 8), nn.ReLU())
        self.head = normalise(nn.Linear(8, K))

    def forward(self, x):
        return self.head(self.body(x))


class Newly(Normed):
    def __init__(self):
        super().__init__(torch.nn.utils.parametrizations.weight_norm)


class Lazy(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.LazyLinear(8), nn.LazyBatchNorm1d(), nn.ReLU())
        self.head = nn.LazyLinear(K)

    def forward(self, x):
        return self.head(self.body(x))


class Scripted(Net):
    """A part of it is a script."""

    def __init__(self):
        super().__init__()
        self.body = torch.jit.script(self.body)


class Lightning(nn.Module):
    """As a LightningModule is: the network, a loss with weights, and more."""

    def __init__(self):
        super().__init__()
        self.backbone = Net()
        self.loss = nn.CrossEntropyLoss(weight=torch.ones(K))


def around():
    """A module around the trained one."""
    holder = nn.Module()
    holder.model = Net()
    holder.forward = holder.model.forward
    return holder


def compiled():
    return torch.compile(Net())


def parallel():
    return nn.DataParallel(Net())


def split():
    net = Net()
    return nn.Sequential(OrderedDict(body=net.body, head=net.head))


class LoRA(nn.Module):
    def __init__(self):
        super().__init__()
        self.base_layer, self.lora_A = nn.Linear(WIDTH, K), nn.Linear(WIDTH, 2, bias=False)
        self.lora_B = nn.Linear(2, K, bias=False)


class Kept:
    """An average as a class of one's own keeps it: of the trained tensors alone, by name."""

    def __init__(self, net):
        self.shadow = {k: p.detach() + 1 for k, p in net.named_parameters()}


X = torch.randn(60, WIDTH, generator=torch.Generator().manual_seed(1))


def trained(make=Net):
    """A network with weights of its own, and statistics of data in its buffers."""
    torch.manual_seed(0)
    net = make()
    net(X)
    return net.eval()


def moved(net, by=1.0):
    """The same network with other weights."""
    other = copy.deepcopy(net)
    for p in other.parameters():
        p.data += by
    return other


def averaged(net):
    average = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    average.update_parameters(net)
    average.update_parameters(moved(net))
    return average


def optimiser(net):
    made = torch.optim.Adam(net.parameters())
    net(X[:1]).sum().backward()
    made.step()
    return made.state_dict()


def of(state, start):
    return {start + k: v for k, v in state.items()}


def state(net):
    return net.state_dict()


def prefixed(start):
    return lambda net: of(state(net), start)


# name → (what is saved of a trained network, the class that is named)
READ = {
    "state_dict": (state, Net),
    "ordered dictionary": (lambda n: OrderedDict(state(n)), Net),
    "default dictionary": (lambda n: defaultdict(list, state(n)), Net),
    "data parallel": (lambda n: nn.DataParallel(n).state_dict(), Net),
    "compiled": (lambda n: torch.compile(n).state_dict(), Net),
    "compiled and parallel": (prefixed("module._orig_mod."), Net),
    "compiled inside": (
        lambda n: {k.replace("body.", "body._orig_mod."): v for k, v in state(n).items()},
        Net,
    ),
    "backbone": (prefixed("backbone."), Net),
    "nested prefixes": (prefixed("model.net.backbone."), Net),
    "into a compiled one": (state, compiled),
    "into a parallel one": (state, parallel),
    "into a module around it": (state, around),
    "lightning": (
        lambda n: {
            "state_dict": {**of(state(n), "backbone."), "loss.weight": torch.ones(K)},
            "epoch": 3,
            "hyper_parameters": {"lr": 0.1},
            "optimizer_states": [optimiser(n)],
            "callbacks": {"ModelCheckpoint": {"best": torch.tensor(0.3)}},
        },
        Net,
    ),
    "with an optimiser": (
        lambda n: {"epoch": 1, "model_state_dict": state(n), "optimizer_state_dict": optimiser(n)},
        Net,
    ),
    "best_model": (lambda n: {"best_model": state(n), "best_accuracy": 0.9}, Net),
    "any key": (lambda n: {"our_weights_v2": state(n)}, Net),
    "several keys deep": (lambda n: {"a": {"b": {"c": state(n)}}, "epoch": 1}, Net),
    "list around it": (lambda n: [state(n), 12], Net),
    "tuple around it": (lambda n: ("net", of(state(n), "module.")), Net),
    "generator and discriminator": (
        lambda n: {"generator": state(n), "discriminator": nn.Linear(2, 1).state_dict()},
        Net,
    ),
    "a dictionary a part": (
        lambda n: {"body": n.body.state_dict(), "head": n.head.state_dict()},
        split,
    ),
    "the same under two keys": (lambda n: {"last": state(n), "best": state(n)}, Net),
    "whole module": (lambda n: n, Net),
    "whole modules": (lambda n: {"model": n, "ema": moved(n)}, Net),
    "object that holds the model": (lambda n: {"trainer": Held(n)}, Net),
    "parameters in a list": (lambda n: {"params": [p.data for p in n.parameters()]}, None),
    "half": (lambda n: {k: v.half() for k, v in state(n).items()}, None),
    "without counters": (
        lambda n: {k: v for k, v in state(n).items() if "num_batches" not in k},
        Net,
    ),
}


class Held:
    def __init__(self, net):
        self.net = net


def answers(subject):
    return subject.network.core(X)


@pytest.fixture
def load(here):
    """Save something, and load it as a user would; Net and the like lie in a module of the user's."""

    def load(saved, make, name="m.pt", **more):
        if saved is not None:
            torch.save(saved, name)
        more = {"data": "d.npz"} | more
        reference = f"{make.__module__}:{make.__qualname__}"
        return audit.load(name, arch=reference, **more)

    np.savez("d.npz", x=X.numpy(), y=np.arange(60) % K)
    return load


@pytest.mark.parametrize("way", READ)
def test_a_way_to_save_is_read(way, load):
    save, make = READ[way]
    net = trained()
    if way == "half":
        net = net.half().float()
    if way == "parameters in a list":
        with pytest.raises(AuditError, match=r"missing from the file \(body\.1\.running_mean"):
            load(save(net), Net)
        return
    subject = load(save(net), make or Net)
    assert torch.equal(answers(subject), net(X))


AVERAGES = {
    "state_dict_ema": lambda n, a: {"state_dict": state(n), "state_dict_ema": state(a.module)},
    "ema_state_dict": lambda n, a: {
        "model": state(n),
        "ema_state_dict": of(state(a.module), "module."),
    },
    "model_ema": lambda n, a: {"model": state(n), "model_ema": state(a.module)},
    "modelEMA": lambda n, a: {"model": state(n), "modelEMA": state(a.module)},
    "params_ema": lambda n, a: {"params": state(n), "params_ema": state(a.module)},
    "averaged model": lambda n, a: {"model": state(n), "second": state(a)},
    "in one dictionary": lambda n, a: {
        "state_dict": of(state(n), "model.") | of(state(a.module), "ema_model.module.")
    },
    "whole modules": lambda n, a: {"model": n, "ema": a.module},
    "trained ones by name": lambda n, a: {
        "model": state(n),
        "ema": {"shadow": dict(a.module.named_parameters()), "decay": 0.9},
    },
    "trained ones in a list": lambda n, a: {
        "model": state(n),
        "ema": {
            "decay": 0.9,
            "num_updates": 2,
            "shadow_params": [p.data for p in a.module.parameters()],
            "collected_params": [],
        },
    },
}


@pytest.mark.parametrize("way", AVERAGES)
def test_raw_weights_are_taken_and_averaged_ones_are_named(way, load):
    net = trained()
    average = averaged(net)
    saved = AVERAGES[way](net, average)
    raw = load(saved, Net)
    assert torch.equal(answers(raw), net(X))
    (fact,) = (f for f in raw.facts if f.name == "weights")
    assert fact.source == "inferred"
    assert "raw" in fact.value
    assert any("Not taken" in note and "fits too" in note for note in raw.notes)
    ema = load(None, Net, weights="ema")
    assert torch.equal(answers(ema), average(X))
    (fact,) = (f for f in ema.facts if f.name == "weights")
    assert fact.source == "given"
    assert "averaged" in fact.value


def test_averages_alone_are_taken_and_called_so(load):
    net = trained()
    average = averaged(net)
    subject = load(average.state_dict(), Net)
    assert torch.equal(answers(subject), average(X))
    assert "averaged" in next(f.value for f in subject.facts if f.name == "weights")


@pytest.mark.parametrize("saved", [Normed, Newly])
@pytest.mark.parametrize("named", [Normed, Newly])
@pytest.mark.filterwarnings("ignore")
def test_normalised_weights_of_either_kind_go_into_either(saved, named, load):
    net = trained(saved)
    assert torch.allclose(answers(load(state(net), named)), net(X), atol=1e-6)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("make", [Lazy, Scripted, Normed])
def test_networks_that_are_built_in_uncommon_ways_are_audited(make, load):
    net = trained(make)
    subject = load(state(net), make)
    assert torch.equal(answers(subject), net(X))
    record = audit.run(subject, ["behaviour.determinism", "training.weights"], profile="quick")
    assert not [c.id for c in record.checks if c.state == "broken"]


REFUSED = {
    "several that fit": (
        lambda n: {"best_model": state(n), "last_model": state(moved(n))},
        Net,
        r"`best_model` and `last_model`; say which with --weights best_model, or weights = ",
    ),
    "several whole modules": (
        lambda n: {"student": n, "teacher": moved(n)},
        Net,
        "`student` and `teacher`; say which with --weights student",
    ),
    "adapters beside their base": (
        lambda n: LoRA().state_dict(),
        Net,
        "adapters.*merge_and_unload",
    ),
    "another width": (
        lambda n: {"generator": nn.Linear(WIDTH, K).state_dict()},
        Net,
        r"m\.pt, `generator`: 8 missing from the file",
    ),
    "layers that the class lacks": (
        lambda n: {**state(n), "more.weight": torch.ones(2)},
        Net,
        r"1 unknown to the architecture \(more\.weight\); name the class that has them too",
    ),
    "averages of parameters alone": (
        lambda n: {"shadow": dict(n.named_parameters())},
        Net,
        "they are no parameters, so an average leaves them out",
    ),
    "names that would steer a terminal": (
        lambda n: {"\x1b[31m": state(n), "a\nb": state(moved(n))},
        Net,
        r"`‹U\+001B›\[31m` and `a b`",
    ),
    "quantised": (
        lambda n: torch.ao.quantization.quantize_dynamic(n, {nn.Linear}).state_dict(),
        Net,
        "quantised tensors.*save the state_dict of the float model",
    ),
    "meta": (lambda n: n.to("meta").state_dict(), Net, "m.pt was not opened"),
    "lazy and without any input": (lambda _: Lazy().state_dict(), Lazy, "before its first input"),
    "one tensor": (lambda n: torch.ones(3), Net, "one bare tensor"),
    "an optimiser alone": (lambda n: {"optimizer": optimiser(n)}, Net, "no weights were found"),
    "nothing of weights": (lambda n: {"epoch": 3, "loss": 0.1}, Net, "no weights were found"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("way", REFUSED)
def test_what_is_not_read_is_one_sentence(way, load):
    save, make, words = REFUSED[way]
    with pytest.raises(AuditError, match=words) as caught:
        load(save(trained()), make)
    assert "\n" not in str(caught.value)


def test_weights_of_no_such_name_are_one_sentence(load):
    with pytest.raises(AuditError, match=r"--weights emma: .* it holds `model`, `ema`"):
        load({"model": state(trained()), "ema": state(moved(trained()))}, Net, weights="emma")
    with pytest.raises(AuditError, match=r"holds one set of weights, and it has no name"):
        load(state(trained()), Net, weights="ema")


def test_what_was_left_aside_is_named(load):
    net = trained()
    saved = {
        "state_dict": of(state(net), "backbone.") | {"loss.weight": torch.ones(K)},
        "discriminator": nn.Linear(2, 1).state_dict(),
    }
    said = " ".join(load(saved, Net).notes)
    assert "under the key `state_dict`" in said
    assert "prefix `backbone.` was taken off" in said
    assert "`discriminator` (2 tensors)" in said
    assert "state_dict.loss.weight" in said


# Folders


def folder(net, shards=1, config=None, name="model.safetensors"):
    from pathlib import Path

    Path("saved").mkdir()
    if config is not None:
        Path("saved/config.json").write_text(json.dumps(config))
    tensors = {k: v.contiguous() for k, v in state(net).items()}
    if name.endswith(".bin"):
        torch.save(tensors, f"saved/{name}")
    elif shards == 1:
        save_file(tensors, f"saved/{name}")
    else:
        where = {
            k: f"model-{i % shards + 1}-of-{shards}.safetensors" for i, k in enumerate(tensors)
        }
        for file in set(where.values()):
            save_file({k: v for k, v in tensors.items() if where[k] == file}, f"saved/{file}")
        index = {"metadata": {}, "weight_map": where}
        Path(f"saved/{name}.index.json").write_text(json.dumps(index))
    return "saved"


CONFIG = {"id2label": {"0": "cat", "1": "dog", "2": "cow"}, "model_type": "x"}


@pytest.mark.parametrize(
    "how",
    [{}, {"shards": 3}, {"name": "pytorch_model.bin"}, {"name": "weights.safetensors"}],
)
def test_a_folder_is_read_and_its_config_names_the_classes(how, load):
    net = trained()
    subject = load(None, Net, folder(net, config=CONFIG, **how))
    assert torch.equal(answers(subject), net(X))
    assert subject.meta.classes == ["cat", "dog", "cow"]
    fact = next(f for f in subject.facts if f.name == "classes")
    assert (fact.source, "id2label" in fact.reason) == ("inferred", True)


@pytest.mark.parametrize(
    ("config", "classes", "note"),
    [
        ({"label2id": {"dog": 1, "cat": 0, "cow": 2}}, ["cat", "dog", "cow"], ""),
        ({"id2label": {"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"}}, ["0", "1", "2"], ""),
        ({"id2label": {"0": "a", "1": "b"}}, ["0", "1", "2"], "The 2 names in `id2label`"),
        ({"id2label": {"1": "a", "2": "b", "3": "c"}}, ["0", "1", "2"], ""),
        ({"id2label": {"0": "a", "1": "a", "2": "b"}}, ["0", "1", "2"], ""),
        ([1], ["0", "1", "2"], ""),
    ],
)
def test_a_config_that_may_not_name_the_classes(config, classes, note, load):
    subject = load(None, Net, folder(trained(), config=config))
    assert subject.meta.classes == classes
    assert (note in " ".join(subject.notes)) if note else not subject.notes


@pytest.mark.parametrize(
    ("told", "place"),
    [
        ({"class_to_idx": {"dog": 1, "cat": 0, "cow": 2}}, "class_to_idx"),
        ({"hyper_parameters": {"class_names": ["cat", "dog", "cow"]}}, "class_names"),
    ],
)
def test_a_checkpoint_names_the_classes_and_the_data_may_use_the_names(told, place, load):
    np.savez("named.npz", images=X.numpy(), labels=np.array(["dog", "cat", "cow"] * 20))
    subject = load({"state_dict": state(trained()), **told}, Net, data="named.npz")
    assert subject.meta.classes == ["cat", "dog", "cow"]
    assert subject.labels[:3].tolist() == [1, 0, 2]
    assert place in next(f.reason for f in subject.facts if f.name == "classes")


def test_what_a_config_says_is_no_more_than_a_guess(load):
    net = trained()
    names = audit.meta.SubjectMeta(classes=["a", "b", "c"])
    subject = load(None, Net, folder(net, config=CONFIG), meta=names)
    assert subject.meta.classes == ["a", "b", "c"]
    assert next(f for f in subject.facts if f.name == "classes").source == "given"


@pytest.mark.parametrize("path", ["../x.safetensors", "/etc/passwd", "a/b", "gone.safetensors"])
def test_an_index_leads_to_no_file_elsewhere(path, here):
    (here / "saved").mkdir()
    (here / "x.safetensors").touch()
    index = {"weight_map": {"w": path}}
    (here / "saved/model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(AuditError, match=r"does not lie beside it|is not there"):
        audit.load("saved", weights_only=True)


def test_folders_that_hold_no_model_or_several(here):
    (here / "saved").mkdir()
    with pytest.raises(AuditError, match="without a file of weights"):
        audit.load("saved")
    (here / "saved/adapter_model.safetensors").touch()
    with pytest.raises(AuditError, match="adapters"):
        audit.load("saved")
    for name in "ab":
        (here / f"saved/{name}.pt").touch()
    (here / "saved/adapter_model.safetensors").unlink()
    with pytest.raises(AuditError, match=r"several files of weights \(a\.pt, b\.pt\)"):
        audit.load("saved")


def test_thousands_of_places_that_fit_are_asked_about_in_little_time(load):
    own = state(trained())
    parts = {f"{i}.{k}": v for i in range(1500) for k, v in own.items()}
    began = time.process_time()
    with pytest.raises(AuditError, match="`0` and `1`"):
        load({k: v + i for i, (k, v) in enumerate(parts.items())}, Net)
    assert time.process_time() - began < 10


def test_dictionaries_that_refer_to_each_other_end_in_a_sentence(here):
    inner = {"w": torch.ones(2)}
    for _ in range(40):
        inner = {"a": inner, "b": inner}
    torch.save(inner, "m.pt")
    with pytest.raises(AuditError, match="refer to each other without end"):
        audit.load("m.pt", weights_only=True)
    turning = {"w": torch.ones(2), "v": torch.ones(2)}
    turning["again"] = turning
    torch.save(turning, "m.pt")
    assert audit.load("m.pt", weights_only=True).known.format


@pytest.mark.parametrize("dtype", [torch.int8, torch.complex64])
def test_numbers_of_another_type_are_no_weights(dtype, load):
    state = {k: v.to(dtype) if v.is_floating_point() else v for k, v in Net().state_dict().items()}
    with pytest.raises(AuditError, match=f"is {str(dtype)[6:]} in the file"):
        load(state, Net)
