"""From an ANN to a spiking agent: conversion, distillation, learning by reward, checkpoints."""
