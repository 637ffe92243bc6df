# The project with its environment and Caffe, for any system that runs containers; setup/README.md shows how to use it.
#
#   docker build -t saliency .
#   mkdir -p results && docker run --rm -v "$PWD/results:/saliency/build" saliency
#
# What changes seldom comes first: a change of the code neither installs packages nor builds Caffe again.
ARG BASE=debian:12-slim
FROM $BASE

# BASE must be a Debian 12. As for a set-up without containers: a mirror of PyPI, a mirror of Debian, a proxy
ARG PIP_INDEX_URL
ARG DEBIAN_MIRROR
ARG http_proxy
ARG https_proxy
WORKDIR /saliency

RUN if [ -n "$DEBIAN_MIRROR" ]; then sed -i "s|^URIs: .*/debian$|URIs: $DEBIAN_MIRROR|" /etc/apt/sources.list.d/debian.sources; fi \
  && apt-get update && apt-get install --yes --no-install-recommends ca-certificates git make && rm -rf /var/lib/apt/lists/*
COPY setup/common.sh setup/debian.sh setup/env.sh setup/
COPY requirements.txt .
RUN setup/env.sh && rm -rf /var/lib/apt/lists/* ~/.cache
COPY deep/caffe deep/caffe
# Both folders can be moved. Outside build/, a folder that is mounted there does not hide them.
RUN deep/caffe/build.sh && rm -rf /var/lib/apt/lists/* build/caffe/caffe.tar \
  && find build/caffe/build -name '*.o' -delete && mkdir /opt/saliency && mv build/env build/caffe /opt/saliency/ \
  && rm -rf build
COPY . .
# the two are newer than what they were made from, so that make does not make them again; build/ is for any user
RUN touch /opt/saliency/*/.ready && chmod -R a+rX . && mkdir build && chmod 1777 build
ENTRYPOINT ["/saliency/setup/container.sh"]
CMD ["make", "reproduce-tables"]
