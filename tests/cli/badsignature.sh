#!/bin/sh
# Signatures that are missing, wrong, or by the wrong people: exit status 3, and nothing is written.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/cli/lib_bad.sh
. "$(dirname "$0")/lib_bad.sh"

device 8M
image "$work/image-2" 2
image "$work/image-3" 3
bundle 2 2.0 "$work/image-2"
bundle 3 3.0 "$work/image-3"
abide install "$work/2.abide" >/dev/null
abide activate a >/dev/null
remember

# ---- a certificate authority with the development root ----
ca=$work/ca
mkdir "$ca"
: >"$ca/index.txt"
echo 1000 >"$ca/serial"
echo 1000 >"$ca/crlnumber"
cat >"$ca/conf" <<END
[ca]
default_ca = it
[it]
dir = $ca
database = $ca/index.txt
serial = $ca/serial
crlnumber = $ca/crlnumber
new_certs_dir = $ca
certificate = $work/pki/root.pem
private_key = $work/pki/root.key
default_md = sha256
default_days = 3650
default_crl_days = 3650
unique_subject = no
policy = any
[any]
commonName = supplied
[code]
keyUsage = critical, digitalSignature
extendedKeyUsage = codeSigning
[web]
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
[none]
keyUsage = critical, digitalSignature
END

certificate() { # name extensions [ca option]...
	certificate_name=$1 certificate_extensions=$2
	shift 2
	openssl req -newkey rsa:2048 -nodes -keyout "$ca/$certificate_name.key" \
		-out "$ca/$certificate_name.csr" -subj "/CN=$certificate_name" 2>/dev/null
	openssl ca -batch -notext -config "$ca/conf" -in "$ca/$certificate_name.csr" \
		-out "$ca/$certificate_name.pem" -extensions "$certificate_extensions" "$@" 2>/dev/null
}

sign_as() { # name [openssl option]...
	sign_name=$1
	shift
	openssl cms -sign -binary -in "$parts/manifest.json" -outform DER -out "$parts/manifest.p7s" \
		-signer "$ca/$sign_name.pem" -inkey "$ca/$sign_name.key" -md sha256 "$@" 2>/dev/null
}

by() { # what pattern certificate [openssl option]...
	by_what=$1 by_pattern=$2
	shift 2
	sign_as "$@"
	pack
	early 3 "$by_what" "$by_pattern"
}

open_bundle 3
certificate good code
sign_as good
pack
expect 0 "another signer with a certificate of the root" abide install "$bad"
restore

# ---- no signature, another's, a changed one ----
: >"$parts/manifest.p7s"
pack
early 3 "an empty signature" 'manifest.p7s|signature: is empty'
noise 4 2000 >"$parts/manifest.p7s"
pack
early 3 "noise" 'not CMS'
open_bundle 2
cp "$parts/manifest.p7s" "$work/other.p7s"
open_bundle 3
cp "$work/other.p7s" "$parts/manifest.p7s"
pack
early 3 "the signature of another manifest" 'not over this manifest'
open_bundle 3
sed -i 's/"version": "3.0"/"version": "3.1"/' "$parts/manifest.json"
pack
early 3 "the manifest changed after signing" 'not over this manifest'
open_bundle 3
size=$(stat -c %s "$parts/manifest.p7s")
flip "$parts/manifest.p7s" "$((size - 20))"
pack
early 3 "the signature changed" 'signature'
open_bundle 3
printf X >>"$parts/manifest.p7s"
pack
early 3 "a byte behind the signature" 'signature: 1 bytes follow'
head -c 70000 /dev/zero >"$parts/manifest.p7s"
pack
early 3 "a signature too long" 'manifest.p7s. has'
openssl cms -sign -binary -nodetach -in "$parts/manifest.json" -outform DER \
	-out "$parts/manifest.p7s" -signer "$work/pki/signer.pem" -inkey "$work/pki/signer.key"
pack
early 3 "a signature with content in it" 'content in it'
openssl cms -encrypt -binary -in "$parts/manifest.json" -outform DER \
	-out "$parts/manifest.p7s" "$work/pki/signer.pem"
pack
early 3 "CMS, but no signature" 'SignedData'

# ---- the wrong people ----
open_bundle 3
"$ABIDE_IMAGE" keys "$work/stranger" >/dev/null 2>&1
openssl cms -sign -binary -in "$parts/manifest.json" -outform DER -out "$parts/manifest.p7s" \
	-signer "$work/stranger/signer.pem" -inkey "$work/stranger/signer.key"
pack
early 3 "a stranger" 'no trusted signer'
openssl req -x509 -newkey rsa:2048 -nodes -keyout "$ca/self.key" -out "$ca/self.pem" \
	-subj /CN=self -addext extendedKeyUsage=codeSigning 2>/dev/null
by "a certificate signed by itself" 'no trusted signer' self
certificate expired code -startdate 20200101000000Z -enddate 20210101000000Z
by "an expired certificate" 'expired' expired
certificate web web
by "a certificate for web servers" 'not for code signing' web
certificate none none
by "a certificate for no stated purpose" 'not for code signing' none
by "a weak digest" 'weak digest' good -md sha1
by "a signature without the certificate" 'certificate is not in the signature' good -nocerts
openssl req -newkey rsa:1024 -nodes -keyout "$ca/small.key" -out "$ca/small.csr" \
	-subj /CN=small 2>/dev/null
openssl ca -batch -notext -config "$ca/conf" -in "$ca/small.csr" -out "$ca/small.pem" \
	-extensions code 2>/dev/null
by "a key of 1024 bits" '1024|weak|too small' small

# ---- revoked ----
certificate revoked code
openssl ca -config "$ca/conf" -revoke "$ca/revoked.pem" 2>/dev/null
openssl ca -config "$ca/conf" -gencrl -out "$ca/crl.pem" 2>/dev/null
sign_as revoked
pack
expect 0 "a revoked certificate, and nobody told the device" abide install "$bad"
restore
sed -i "/^roots/a crl = $ca/crl.pem" "$work/system.conf"
early 3 "a revoked certificate" 'revoked'
sign_as good
pack
expect 0 "a certificate that is not on the list" abide install "$bad"
restore
sed -i '/^crl/d' "$work/system.conf"

# ---- too few ----
sed -i '/^roots/a threshold = 2' "$work/system.conf"
cp "$work/3.abide" "$bad"
early 3 "one signer of two" '1 of 2 needed signers'
open_bundle 3
openssl ca -batch -notext -config "$ca/conf" -in "$ca/good.csr" -subj /CN=again \
	-out "$ca/again.pem" -extensions code 2>/dev/null
openssl cms -sign -binary -in "$parts/manifest.json" -outform DER -out "$parts/manifest.p7s" \
	-signer "$ca/good.pem" -inkey "$ca/good.key" -signer "$ca/again.pem" -inkey "$ca/good.key"
pack
early 3 "one key with two certificates" '1 of 2 needed signers'
openssl cms -sign -binary -in "$parts/manifest.json" -outform DER -out "$parts/manifest.p7s" \
	-signer "$ca/good.pem" -inkey "$ca/good.key" -signer "$ca/self.pem" -inkey "$ca/self.key"
pack
early 3 "one signer and a stranger" '1 of 2 needed signers'
openssl cms -sign -binary -in "$parts/manifest.json" -outform DER -out "$parts/manifest.p7s" \
	-signer "$ca/good.pem" -inkey "$ca/good.key" \
	-signer "$work/pki/signer.pem" -inkey "$work/pki/signer.key"
pack
expect 0 "two signers" abide install "$bad"
expect 0 "info names both" abide info "$bad"
check "  two lines" [ "$(grep -c '^signed by' "$work/out")" -eq 2 ]
finish
