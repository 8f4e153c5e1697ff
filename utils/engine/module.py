"""A trained member as a torch.nn.Sequential."""

from collections.abc import Sequence

import torch
from torch import nn

from utils.data import load
from utils.engine.layers import BATCH_NORM_EPS, BATCH_NORM_MOMENTUM
from utils.engine.network import layout
from utils.experiment import Experiment

_MODULES = {"relu": nn.ReLU, "tanh": nn.Tanh, "selu": nn.SELU}


def build_module(experiment: Experiment, state: Sequence[torch.Tensor]) -> nn.Module:
    """Return the network as a torch.nn.Sequential holding the given state.

    It takes inputs [n, features], images too.
    """
    e, data = experiment, load(experiment.data)
    convolutions, sizes = layout(e, data)
    count, depth = len(convolutions), len(convolutions) + len(sizes) - 1
    weights, biases = state[:depth], state[depth : 2 * depth]
    norms = list(zip(*_quarters(state[2 * depth :]), strict=True))
    layers = [nn.Dropout(e.dropout_input)] if e.dropout_input else []
    if convolutions:
        layers.append(nn.Unflatten(1, (1, *data.image)))
    for i, convolution in enumerate(convolutions):
        layers.append(convolution.module(weights[i], biases[i]))
        norm = [_norm(nn.BatchNorm2d, *norms[i])] if norms else []
        drop = [nn.Dropout2d(e.dropout_channels)] if e.dropout_channels else []
        layers += [*norm, _MODULES[e.activation](), *drop, nn.MaxPool2d(2)]
    if convolutions:
        layers.append(nn.Flatten())
    for i in range(count, depth - 1):
        layers.append(_linear(weights[i], biases[i]))
        norm = [_norm(nn.BatchNorm1d, *norms[i])] if norms else []
        act = _MODULES[e.activation]()
        drops = e.dropout and (e.dropout_at != "last" or i == depth - 2)
        drop = [nn.Dropout(e.dropout)] if drops else []
        early = e.dropout_at == "before_norm"
        layers += [*drop, *norm, act] if early else [*norm, act, *drop]
    layers.append(_linear(weights[-1], biases[-1]))
    return nn.Sequential(*layers).to(getattr(torch, e.dtype)).eval()


def _quarters(tensors):
    count = len(tensors) // 4
    return [tensors[k * count : (k + 1) * count] for k in range(4)]


def _linear(weight, bias):
    layer = nn.utils.skip_init(nn.Linear, *weight.shape)
    layer.weight.data, layer.bias.data = weight.T.clone(), bias[0].clone()
    return layer


def _norm(kind, gamma, beta, mean, variance):
    layer = kind(gamma.shape[1], BATCH_NORM_EPS, BATCH_NORM_MOMENTUM)
    layer.weight.data, layer.bias.data = gamma[0].clone(), beta[0].clone()
    layer.running_mean, layer.running_var = mean[0].clone(), variance[0].clone()
    return layer
