"""Where each data set comes from, what should be there, and how it has to lie: `make data-help`."""
import argparse

from common.errors import UserError, run

# licence "not stated": ask the owners; archives: MD5, or None where it is not known; counts: Table 2 of the paper,
# for OSIE and MIT1003 their own papers
SOURCES = {
    "synthetic": {
        "title": "pictures and observers made from a seed",
        "licence": "this project's", "where": ["nowhere: it is computed (data/synthetic.py)"], "archives": {},
        "layout": [], "counts": {"train": 1000, "test": 100}},
    "salicon": {
        "title": "SALICON: COCO images, gaze of a crowd by mouse (Jiang et al., CVPR 2015)",
        "licence": "images as in COCO, each by its photographer's licence; annotations: see the owners' page",
        "where": ["http://salicon.net/download (JSON of 2015: images 3.0 GB, training 818 MB, validation 459 MB)",
                  "http://salicon.net/challenge-2017 (.mat: stimuli, fixations of 2015 or 2017, maps)",
                  "http://lsun.cs.princeton.edu/challenge/2015/eyetracking_salicon/data (LSUN 2015; may be gone)"],
        "archives": {"stimuli.zip": "eb2a1bb706633d1b31fc2e01422c5757",
                     "fixations.zip (2015)": "9a22db9d718200fb90252e5010c004c4",
                     "fixations.zip (2017)": "462b70f4f9e8ea446ac628e46cea8d3d"},
        "layout": ["images/{train,val,test}/COCO_*.jpg, or all in images/", "and one of",
                   "annotations/fixations_{train,val}2014.json", "fixations/{train,val}/COCO_*.mat",
                   "training.mat validation.mat testing.mat (LSUN)",
                   "optional: maps/{train,val}/COCO_*.png (saliency/COCO_*.mat for LSUN)"],
        "counts": {"train": 10_000, "val": 5_000, "test": 5_000}},
    "isun": {
        "title": "iSUN: SUN images, gaze of a crowd by webcam (Xu et al., 2015)", "licence": "not stated",
        "where": ["http://lsun.cs.princeton.edu/challenge/2015/eyetracking/data (may be gone)",
                  "http://turkergaze.cs.princeton.edu"],
        "archives": {"training.mat": "5a8b15134b17c7a3f69b087845db1363",
                     "validation.mat": "f68e9b011576e48d2460b883854fd86c",
                     "testing.mat": "be008ef0330467dcb9c9cd9cc96a8546",
                     "image.zip": "0a3af01c5307f1d44f5dd309f71ea963"},
        "layout": ["training.mat validation.mat testing.mat", "images/*.jpg", "optional: saliency/*.mat"],
        "counts": {"train": 6_000, "val": 926, "test": 2_000}},
    "mit1003": {
        "title": "MIT1003: Flickr and LabelMe images, gaze of 15 people (Judd et al., ICCV 2009)",
        "licence": "not stated",
        "where": ["http://people.csail.mit.edu/tjudd/WherePeopleLook (ALLSTIMULI.zip, ALLFIXATIONMAPS.zip, DATA.zip)"],
        "archives": {"ALLSTIMULI.zip": "0d7df8b954ecba69b6796e77b9afe4b6",
                     "DATA.zip": "ea19d74ad0a0144428c53e9d75c2d71c", "ALLFIXATIONMAPS.zip": None},
        "layout": ["ALLSTIMULI/*.jpeg", "ALLFIXATIONMAPS/*_fixPts.jpg and *_fixMap.jpg",
                   "optional: DATA/<subject>/*.mat"],
        "counts": {"all": 1_003}},
    "mit300": {
        "title": "MIT300: images of the MIT benchmark, whose gaze (39 people) is not public (Judd et al., 2012)",
        "licence": "not stated",
        "where": ["http://saliency.mit.edu/BenchmarkIMAGES.zip; scored by https://saliency.tuebingen.ai today"],
        "archives": {"BenchmarkIMAGES.zip": "03ed32bdf5e4289950cd28df89451260"},
        "layout": ["BenchmarkIMAGES/i1.jpg ..."], "counts": {"test": 300}},
    "osie": {
        "title": "OSIE: 700 photographs, gaze of 15 people, and of a crowd by mouse (Xu et al., JoV 2014)",
        "licence": "MIT",
        "where": ["git clone https://github.com/NUS-VIP/predicting-human-gaze-beyond-pixels (its folder data/)"],
        "archives": {}, "layout": ["stimuli/*.jpg", "eye/fixations.mat", "mouse_amt/*.mat"],
        "variants": ["osie+gaze=eyes", "osie+gaze=mouse"], "counts": {"all": 700}},
    "folder": {
        "title": "your own pictures and fixations", "licence": "yours", "where": ["your disk"], "archives": {},
        "layout": ["images/NAME.jpg, .png, ...",
                   "fixations/NAME.csv (a header x,y or row,col; from 0), .npy, .mat or .png",
                   "optional: maps/NAME.png"], "counts": {}},
}


def source_lines(name):
    """What `make data-help` prints of one data set, as lines."""
    source = SOURCES[name]
    lines = [f"{name}: {source['title']}", f"  licence   {source['licence']}"]
    lines += [f"  {'from' if not index else '':9} {place}" for index, place in enumerate(source["where"])]
    lines += [f"  {'' if index else 'MD5':9} {md5 or 'not known':32}  {file}"
              for index, (file, md5) in enumerate(source["archives"].items())]
    lines += [f"  {'' if index else 'layout':9} {line}" for index, line in enumerate(source["layout"])]
    if source["counts"]:
        lines.append("  images    " + ", ".join(f"{split} {count:,}" for split, count in source["counts"].items()))
    if source["layout"]:
        lines.append(f"  then      make check-data DATASET={name} DATA_ROOT=the folder that holds this layout")
    return lines


def main():
    """Parse the command line and print."""
    parser = argparse.ArgumentParser(prog="python -m data.sources", description=__doc__)
    parser.add_argument("dataset", nargs="*", help=f"of these only: {', '.join(SOURCES)}")
    names = [name.split("+")[0] for name in parser.parse_args().dataset] or list(SOURCES)
    for name in names:
        if name not in SOURCES:
            raise UserError(f"there is no data set {name!r}; choose one of: {', '.join(SOURCES)}")
    print("\n\n".join("\n".join(source_lines(name)) for name in names))


if __name__ == "__main__":
    run(main)
