"""Outputs, labels and what public packages say of them, for the metrics' tests.

Run with Python 3.11 and numpy 2.4.6, scipy 1.17.1, scikit-learn 1.9.1, pycocotools 2.0.11, sacrebleu 2.6.0, jiwer 4.0.0:

    python generate.py > goldens.json

Each case: the metric, its value, output tensors and the labels, each as shape, type and numbers. Numbers are rounded to what float32
holds before the packages see them. The expected calibration error is computed as equation 3 of Guo et al. 2017 says.
"""

import contextlib
import io
import json

import jiwer
import numpy
import sacrebleu
import scipy.special
import scipy.stats
import sklearn.metrics
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

SEED = 11
random = numpy.random.default_rng(SEED)
cases = []


def tensor(array):
    array = numpy.asarray(array)
    if array.dtype.kind == "f":
        numbers = [float(str(value)) for value in array.astype(numpy.float32).ravel()]
        return {"dtype": "f32", "shape": list(array.shape), "values": numbers}
    return {"dtype": "i64", "shape": list(array.shape), "values": array.ravel().tolist()}


def case(metric, value, outputs, labels):
    cases.append({"metric": metric, "value": float(value), "outputs": [tensor(o) for o in outputs], "labels": tensor(labels)})


def normal(*shape):
    return random.normal(size=shape).round(3)


def logits(samples, classes, labels):
    scores = normal(samples, classes) * 1.5
    scores[numpy.arange(samples), labels] += 1.0
    return scores.astype(numpy.float32)


def classification():
    for classes, samples in ((2, 60), (5, 80)):
        labels = random.integers(0, classes, samples)
        scores = logits(samples, classes, labels)
        probabilities = scipy.special.softmax(scores.astype(numpy.float64), axis=1)
        predicted = scores.argmax(axis=1)
        average = "binary" if classes == 2 else "macro"
        case("f1", sklearn.metrics.f1_score(labels, predicted, average=average), [scores], labels)
        area = (
            sklearn.metrics.roc_auc_score(labels, probabilities[:, 1])
            if classes == 2
            else sklearn.metrics.roc_auc_score(labels, probabilities, multi_class="ovr")
        )
        case("roc-auc", area, [scores], labels)
        for given in (scores, probabilities.astype(numpy.float32)):
            case("ece", calibration_error(probabilities, labels), [given], labels)
            brier = sklearn.metrics.brier_score_loss(
                labels, probabilities, labels=list(range(classes)), scale_by_half=False
            )
            case("brier", brier, [given], labels)
    labels = random.integers(0, 2, 50)
    score = numpy.round(normal(50) + labels, 1).astype(numpy.float32)
    case("roc-auc", sklearn.metrics.roc_auc_score(labels, score), [score[:, None]], labels)
    case("f1", sklearn.metrics.f1_score(labels, score > 0), [score[:, None]], labels)
    chance = scipy.special.expit(score).astype(numpy.float32)
    case("f1", sklearn.metrics.f1_score(labels, chance > 0.5), [chance], labels)
    # Classes that neither labels nor predictions have.
    labels = random.integers(0, 3, 40)
    scores = logits(40, 6, labels)
    scores[:, 5] = -9
    case("f1", sklearn.metrics.f1_score(labels, scores.argmax(axis=1), average="macro"), [scores], labels)


def calibration_error(probabilities, labels):
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    error = 0.0
    for low in range(15):
        inside = (confidence > low / 15) & (confidence <= (low + 1) / 15)
        if inside.any():
            error += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    return error


def segmentation():
    labels = random.integers(0, 4, (5, 6, 7))
    labels[random.random(labels.shape) < 0.1] = 255
    scores = normal(5, 6, 6, 7).astype(numpy.float32)
    for index in numpy.ndindex(5, 6, 7):
        if labels[index] != 255:
            scores[(index[0], labels[index], *index[1:])] += 1.5
    predicted = scores.argmax(axis=1)
    kept = labels != 255
    value = sklearn.metrics.jaccard_score(labels[kept], predicted[kept], average="macro")
    case("mean-iou", value, [scores], labels)
    case("mean-iou", value, [predicted], labels[:, None])


def regression():
    labels = numpy.round(normal(40, 1) * 4).astype(numpy.float32)
    outputs = (labels + normal(40, 1)).astype(numpy.float32)
    coarse = numpy.round(outputs)
    x, y = outputs.astype(numpy.float64), labels.astype(numpy.float64)
    case("mse", sklearn.metrics.mean_squared_error(y, x), [outputs], labels[:, 0])
    case("sqnr", 10 * numpy.log10((y**2).sum() / ((x - y) ** 2).sum()), [outputs], labels)
    case("spearman", scipy.stats.spearmanr(outputs[:, 0], labels[:, 0]).statistic, [outputs], labels)
    case("spearman", scipy.stats.spearmanr(coarse[:, 0], labels[:, 0]).statistic, [coarse], labels[:, 0])
    labels = normal(25, 3).astype(numpy.float32)
    outputs = (labels + normal(25, 3)).astype(numpy.float32)
    both = [scipy.stats.spearmanr(outputs[:, i], labels[:, i]).statistic for i in range(3)]
    case("spearman", numpy.mean(both), [outputs], labels)


def sequences():
    rows, length, vocabulary = 12, 14, 9
    labels = random.integers(1, vocabulary, (rows, length))
    outputs = labels.copy()
    changed = random.random(outputs.shape) < 0.2
    outputs[changed] = random.integers(1, vocabulary, changed.sum())
    for row in range(rows):
        outputs[row] = numpy.roll(outputs[row], int(random.integers(0, 2)))
        labels[row, random.integers(8, length + 1) :] = random.choice([0, -100])
        outputs[row, random.integers(8, length + 1) :] = 0
    text = lambda row: " ".join(str(t) for t in row[: numpy.argmax(row <= 0) if (row <= 0).any() else None])
    said, meant = [text(row) for row in outputs], [text(row) for row in labels]
    bleu = sacrebleu.corpus_bleu(said, [meant], smooth_method="none", tokenize="none", force=True)
    scores = normal(rows, length, vocabulary).astype(numpy.float32)
    numpy.put_along_axis(scores, outputs[:, :, None], 9.0, axis=2)
    for given in (outputs, scores):
        case("bleu", bleu.score / 100, [given], labels)
        case("wer", jiwer.wer(meant, said), [given], labels)


def detection():
    images, marks, boxes = 14, 5, 9
    labels = numpy.zeros((images, marks, 5), numpy.float32)
    corners = numpy.zeros((images, boxes, 4), numpy.float32)
    scores = numpy.round(random.random((images, boxes)), 4).astype(numpy.float32)
    classes = random.integers(0, 3, (images, boxes))
    for image in range(images):
        start = random.integers(0, 60, (marks, 2))
        labels[image, :, 0] = random.integers(-1, 3, marks)
        labels[image, :, 1:3], labels[image, :, 3:5] = start, start + random.integers(10, 40, (marks, 2))
        for box in range(boxes):
            mark = labels[image, random.integers(0, marks)]
            corners[image, box] = mark[1:] + random.integers(-4, 5, 4)
            if random.random() < 0.8 and mark[0] >= 0:
                classes[image, box] = mark[0]
    classes[random.random(classes.shape) < 0.1] = -1
    value = coco(labels, corners, scores, classes)
    case("map", value, [corners, scores, classes], labels)
    case("map", value, [corners, classes, scores], labels)
    case("map", value, [corners, scores, classes.astype(numpy.float32)], labels)


def coco(labels, corners, scores, classes):
    width_height = lambda c: [float(c[0]), float(c[1]), float(c[2] - c[0]), float(c[3] - c[1])]
    truth, found = [], []
    for image in range(len(labels)):
        for mark in labels[image]:
            if mark[0] >= 0:
                bbox = width_height(mark[1:])
                truth.append(
                    dict(id=len(truth) + 1, image_id=image, category_id=int(mark[0]), bbox=bbox, area=bbox[2] * bbox[3], iscrowd=0)
                )
        for box, score, label in zip(corners[image], scores[image], classes[image]):
            if label >= 0:
                found.append(dict(image_id=image, category_id=int(label), bbox=width_height(box), score=float(score)))
    with contextlib.redirect_stdout(io.StringIO()):
        data = COCO()
        data.dataset = dict(
            info={}, images=[dict(id=i) for i in range(len(labels))], categories=[dict(id=i) for i in range(3)], annotations=truth
        )
        data.createIndex()
        evaluation = COCOeval(data, data.loadRes(found), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats[0]


for part in (classification, segmentation, regression, sequences, detection):
    part()
print("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]")
