# Images for training, for builds with the host's Vivado, and for CI. Nothing in them runs as root.
#   docker build --target train|build|ci --tag narrowgauge:TARGET .      (make docker-image)
# Pinned: the base by its tag, Debian's packages by the day of a snapshot (SNAPSHOT= takes those of
# the base's own sources), Python's by requirements.lock, with hashes.
ARG BASE_IMAGE=debian:bookworm-20250520-slim

FROM ${BASE_IMAGE} AS environment
ARG SNAPSHOT=20250520T000000Z
RUN if [ -n "${SNAPSHOT}" ]; then \
        rm -f /etc/apt/sources.list.d/* && \
        for part in "debian bookworm" "debian bookworm-updates" "debian-security bookworm-security"; \
        do set -- $part; echo "deb [check-valid-until=no]" \
            "http://snapshot.debian.org/archive/$1/${SNAPSHOT}/ $2 main"; done \
        > /etc/apt/sources.list; \
    fi
RUN apt-get update \
 && apt-get install --yes --no-install-recommends \
    ca-certificates g++ git make perl python3.11 python3.11-venv \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /narrowgauge
# Whatever user runs this finds compiled Yosys here, and a home that can be written.
ENV YOWASP_CACHE_DIR=/opt/yowasp HOME=/tmp PYTHONDONTWRITEBYTECODE=1 OMP_NUM_THREADS=1
COPY pyproject.toml requirements.in requirements.lock setup.sh LICENSE ./
# The rest comes later: a change of the sources must not install everything again.
RUN touch README.md && python3.11 -c "import os, tomllib; \
    names = tomllib.load(open('pyproject.toml', 'rb'))['tool']['setuptools']['packages']; \
    [os.makedirs(name.replace('.', '/'), exist_ok=True) for name in names]"
# Where pip looks, if not on PyPI. Without a value they are not set.
ARG TORCH_INDEX=
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
# It starts Yosys and nextpnr, which compiles them for this processor: another compiles them again.
RUN TORCH_INDEX="${TORCH_INDEX}" bash setup.sh \
 && touch .venv/.set-up \
 && rm -rf /tmp/.cache \
 && mkdir -p runs \
 && chmod -R a+rX /narrowgauge \
 && chmod -R a+rwX /opt/yowasp \
 && chmod 1777 /narrowgauge/runs
ENV PATH=/narrowgauge/.venv/bin:${PATH}
# Files that it writes in a folder of the host would be root's.
ENTRYPOINT ["sh", "-c", "[ $(id -u) != 0 ] || \
    { echo 'error: not as root: docker run --user $(id -u):$(id -g) ...' >&2; exit 3; }; \
    exec \"$@\"", "sh"]
CMD ["bash"]

FROM environment AS train
COPY Makefile README.md ./
COPY deploy deploy
COPY training training
COPY hw_build hw_build
USER 1000:1000

FROM environment AS build
# What Vivado needs of a system that it was not installed on: a locale, old curses, X libraries.
# Its licence client loads libudev at a moment when that ends in "realloc(): invalid pointer".
RUN apt-get update \
 && apt-get install --yes --no-install-recommends \
    fontconfig libfreetype6 libncurses5 libtinfo5 libudev1 libx11-6 libxext6 libxi6 libxrender1 \
    libxtst6 locales procps \
 && rm -rf /var/lib/apt/lists/* \
 && sed -i 's/^# *en_US.UTF-8/en_US.UTF-8/' /etc/locale.gen \
 && locale-gen
ENV LANG=en_US.UTF-8 LC_ALL=en_US.UTF-8 LD_PRELOAD=/lib/x86_64-linux-gnu/libudev.so.1
COPY Makefile README.md ./
COPY deploy deploy
COPY training training
COPY hw_build hw_build
USER 1000:1000

FROM environment AS ci
RUN apt-get update \
 && apt-get install --yes --no-install-recommends \
    chromium fish liblz4-dev openssh-client procps rsync tcl zlib1g-dev zsh \
 && rm -rf /var/lib/apt/lists/* \
 && chown 1000:1000 /narrowgauge
COPY Makefile requirements-docs.lock ./
RUN make .venv/.docs \
 && rm -rf /tmp/.cache \
 && chmod -R a+rX .venv
COPY --chown=1000:1000 . .
# Files of a newer checkout than the layers above would have make set everything up again.
RUN touch .venv/.set-up .venv/.docs
# Here the tests of pages may not be skipped.
ENV NARROWGAUGE_REQUIRE_BROWSER=1
USER 1000:1000
CMD ["bash", ".ci/run"]
