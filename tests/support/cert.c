#include "support/cert.h"

#include <mbedtls/ctr_drbg.h>
#include <mbedtls/ecp.h>
#include <mbedtls/entropy.h>
#include <mbedtls/pk.h>
#include <mbedtls/x509_crt.h>
#include <psa/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "io/file.h"

static int cert_write(mbedtls_pk_context *key, mbedtls_ctr_drbg_context *random, char *pem,
                      size_t size)
{
    static unsigned char address[] = {127, 0, 0, 1}, serial[8] = {1};
    mbedtls_x509_san_list ip = {.node = {.type = MBEDTLS_X509_SAN_IP_ADDRESS}};
    mbedtls_x509_san_list name = {.node = {.type = MBEDTLS_X509_SAN_DNS_NAME}, .next = &ip};
    mbedtls_x509write_cert c;
    ip.node.san.unstructured_name.p = address;
    ip.node.san.unstructured_name.len = sizeof address;
    name.node.san.unstructured_name.p = (unsigned char *)"localhost";
    name.node.san.unstructured_name.len = 9;
    mbedtls_ctr_drbg_random(random, serial + 1, sizeof serial - 1);
    mbedtls_x509write_crt_init(&c);
    mbedtls_x509write_crt_set_version(&c, MBEDTLS_X509_CRT_VERSION_3);
    mbedtls_x509write_crt_set_md_alg(&c, MBEDTLS_MD_SHA256);
    mbedtls_x509write_crt_set_subject_key(&c, key);
    mbedtls_x509write_crt_set_issuer_key(&c, key);
    int rc = mbedtls_x509write_crt_set_subject_name(&c, "CN=localhost");
    if (rc == 0)
        rc = mbedtls_x509write_crt_set_issuer_name(&c, "CN=localhost");
    if (rc == 0)
        rc = mbedtls_x509write_crt_set_serial_raw(&c, serial, sizeof serial);
    if (rc == 0)
        rc = mbedtls_x509write_crt_set_validity(&c, "20200101000000", "20991231235959");
    if (rc == 0)
        rc = mbedtls_x509write_crt_set_basic_constraints(&c, 1, -1);
    if (rc == 0)
        rc = mbedtls_x509write_crt_set_subject_alternative_name(&c, &name);
    if (rc == 0)
        rc = mbedtls_x509write_crt_pem(&c, (unsigned char *)pem, size, mbedtls_ctr_drbg_random,
                                       random);
    mbedtls_x509write_crt_free(&c);
    return rc;
}

static int cert_make_pair(char *cert, char *key, size_t size)
{
    mbedtls_entropy_context entropy;
    mbedtls_ctr_drbg_context random;
    mbedtls_pk_context pk;
    mbedtls_entropy_init(&entropy);
    mbedtls_ctr_drbg_init(&random);
    mbedtls_pk_init(&pk);
    int rc = psa_crypto_init() == PSA_SUCCESS ? 0 : -1;
    if (rc == 0)
        rc = mbedtls_ctr_drbg_seed(&random, mbedtls_entropy_func, &entropy, NULL, 0);
    if (rc == 0)
        rc = mbedtls_pk_setup(&pk, mbedtls_pk_info_from_type(MBEDTLS_PK_ECKEY));
    if (rc == 0)
        rc = mbedtls_ecp_gen_key(MBEDTLS_ECP_DP_SECP256R1, mbedtls_pk_ec(pk),
                                 mbedtls_ctr_drbg_random, &random);
    if (rc == 0)
        rc = mbedtls_pk_write_key_pem(&pk, (unsigned char *)key, size);
    if (rc == 0)
        rc = cert_write(&pk, &random, cert, size);
    mbedtls_pk_free(&pk);
    mbedtls_ctr_drbg_free(&random);
    mbedtls_entropy_free(&entropy);
    return rc;
}

int cert_make(struct cert_files *out, struct err *e)
{
    const char *tmp = getenv("TMPDIR");
    char cert[4096], key[4096];
    snprintf(out->folder, sizeof out->folder, "%s/koan-cert-XXXXXX", tmp != NULL ? tmp : "/tmp");
    if (mkdtemp(out->folder) == NULL)
        return err_set(e, ERR_IO, "%s", out->folder);
    snprintf(out->cert, sizeof out->cert, "%s/cert.pem", out->folder);
    snprintf(out->key, sizeof out->key, "%s/key.pem", out->folder);
    int rc = cert_make_pair(cert, key, sizeof cert);
    if (rc != 0)
        return err_set(e, ERR_INTERNAL, "cannot make a certificate: -0x%x", (unsigned)-rc);
    rc = file_write(out->cert, cert, strlen(cert), 0600, e);
    return rc != 0 ? rc : file_write(out->key, key, strlen(key), 0600, e);
}

void cert_remove(struct cert_files *f)
{
    if (f->folder[0] == '\0')
        return;
    unlink(f->cert);
    unlink(f->key);
    rmdir(f->folder);
}
