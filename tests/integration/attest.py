# SPDX-License-Identifier: Apache-2.0
# attest.py LAYOUT: the index of an OCI layout, every blob checked. Its statements go to DIR/slsa.json and DIR/spdx.json.
import hashlib, json, os, sys
d = sys.argv[1]


def blob(x):
    b = open(os.path.join(d, 'blobs/sha256', x['digest'].split(':')[1]), 'rb').read()
    assert hashlib.sha256(b).hexdigest() == x['digest'].split(':')[1] and len(b) == x['size'], x
    return b


def get(x):
    return json.loads(blob(x))


index = get(json.load(open(d + '/index.json'))['manifests'][0])
assert index['mediaType'] == 'application/vnd.oci.image.index.v1+json', index
images = {m['digest']: m for m in index['manifests'] if m['platform']['os'] != 'unknown'}
print('images', len(images))
for m in index['manifests'][len(images):]:
    assert m['platform'] == {'architecture': 'unknown', 'os': 'unknown'}, m
    assert m['annotations']['vnd.docker.reference.type'] == 'attestation-manifest', m
    of = m['annotations']['vnd.docker.reference.digest']
    assert of in images
    manifest = get(m)
    config = get(manifest['config'])
    assert manifest['config']['mediaType'] == 'application/vnd.oci.image.config.v1+json'
    assert config['rootfs'] == {'type': 'layers', 'diff_ids': [x['digest'] for x in manifest['layers']]}, config
    for layer in manifest['layers']:
        s = get(layer)
        assert layer['mediaType'] == 'application/vnd.in-toto+json', layer
        assert layer['annotations']['in-toto.io/predicate-type'] == s['predicateType'], layer
        assert s['_type'] == 'https://in-toto.io/Statement/v0.1'
        assert s['subject'] and all('sha256:' + x['digest']['sha256'] == of for x in s['subject']), s
        kind = {'https://slsa.dev/provenance/v1': 'slsa', 'https://spdx.dev/Document': 'spdx'}[s['predicateType']]
        print(kind, s['subject'][0]['name'])
        json.dump(s['predicate'], open(os.path.join(d, kind + '.json'), 'w'), indent=1)
