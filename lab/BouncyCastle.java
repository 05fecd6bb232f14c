import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.InputStreamReader;
import java.security.AlgorithmParameters;
import java.security.KeyFactory;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.PrivateKey;
import java.security.PublicKey;
import java.security.Security;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.security.interfaces.ECPublicKey;
import java.security.spec.MGF1ParameterSpec;
import java.security.spec.X509EncodedKeySpec;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.Collection;
import java.util.Hashtable;
import java.util.List;
import java.util.Map;
import javax.crypto.Cipher;
import javax.crypto.KeyAgreement;
import javax.crypto.spec.OAEPParameterSpec;
import javax.crypto.spec.PSource;
import javax.crypto.spec.SecretKeySpec;
import org.bouncycastle.asn1.ASN1Encodable;
import org.bouncycastle.asn1.ASN1Encoding;
import org.bouncycastle.asn1.ASN1ObjectIdentifier;
import org.bouncycastle.asn1.ASN1OctetString;
import org.bouncycastle.asn1.ASN1Set;
import org.bouncycastle.asn1.ASN1TaggedObject;
import org.bouncycastle.asn1.DEROctetString;
import org.bouncycastle.asn1.DERSequence;
import org.bouncycastle.asn1.DERSet;
import org.bouncycastle.asn1.DERUTF8String;
import org.bouncycastle.asn1.cms.Attribute;
import org.bouncycastle.asn1.cms.AttributeTable;
import org.bouncycastle.asn1.cms.AuthEnvelopedData;
import org.bouncycastle.asn1.cms.CMSObjectIdentifiers;
import org.bouncycastle.asn1.cms.ContentInfo;
import org.bouncycastle.asn1.cms.EncryptedContentInfo;
import org.bouncycastle.asn1.cms.EnvelopedData;
import org.bouncycastle.asn1.cms.IssuerAndSerialNumber;
import org.bouncycastle.asn1.cms.KeyAgreeRecipientIdentifier;
import org.bouncycastle.asn1.cms.KeyAgreeRecipientInfo;
import org.bouncycastle.asn1.cms.KeyTransRecipientInfo;
import org.bouncycastle.asn1.cms.OriginatorIdentifierOrKey;
import org.bouncycastle.asn1.cms.OriginatorPublicKey;
import org.bouncycastle.asn1.cms.RecipientEncryptedKey;
import org.bouncycastle.asn1.cms.RecipientIdentifier;
import org.bouncycastle.asn1.cms.RecipientInfo;
import org.bouncycastle.asn1.cms.RecipientKeyIdentifier;
import org.bouncycastle.asn1.cms.ecc.ECCCMSSharedInfo;
import org.bouncycastle.asn1.pkcs.PKCSObjectIdentifiers;
import org.bouncycastle.asn1.pkcs.PrivateKeyInfo;
import org.bouncycastle.asn1.x509.AlgorithmIdentifier;
import org.bouncycastle.asn1.x509.SubjectKeyIdentifier;
import org.bouncycastle.asn1.x509.SubjectPublicKeyInfo;
import org.bouncycastle.cert.X509CertificateHolder;
import org.bouncycastle.cert.jcajce.JcaCertStore;
import org.bouncycastle.cert.jcajce.JcaX509CertificateHolder;
import org.bouncycastle.cms.CMSAlgorithm;
import org.bouncycastle.cms.CMSAuthEnvelopedDataGenerator;
import org.bouncycastle.cms.CMSEnvelopedDataGenerator;
import org.bouncycastle.cms.CMSProcessableByteArray;
import org.bouncycastle.cms.CMSSignedData;
import org.bouncycastle.cms.CMSSignedDataGenerator;
import org.bouncycastle.cms.RecipientInfoGenerator;
import org.bouncycastle.cms.SignerInformation;
import org.bouncycastle.cms.SimpleAttributeTableGenerator;
import org.bouncycastle.cms.jcajce.JcaSignerInfoGeneratorBuilder;
import org.bouncycastle.cms.jcajce.JcaSimpleSignerInfoVerifierBuilder;
import org.bouncycastle.cms.jcajce.JceCMSContentEncryptorBuilder;
import org.bouncycastle.cms.jcajce.JceKeyAgreeRecipientInfoGenerator;
import org.bouncycastle.cms.jcajce.JceKeyTransRecipientInfoGenerator;
import org.bouncycastle.crypto.DerivationFunction;
import org.bouncycastle.crypto.Digest;
import org.bouncycastle.crypto.digests.SHA1Digest;
import org.bouncycastle.crypto.digests.SHA224Digest;
import org.bouncycastle.crypto.digests.SHA256Digest;
import org.bouncycastle.crypto.digests.SHA384Digest;
import org.bouncycastle.crypto.digests.SHA512Digest;
import org.bouncycastle.crypto.generators.HKDFBytesGenerator;
import org.bouncycastle.crypto.generators.KDF2BytesGenerator;
import org.bouncycastle.crypto.params.HKDFParameters;
import org.bouncycastle.crypto.params.KDFParameters;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.operator.GenericKey;
import org.bouncycastle.operator.OutputAEADEncryptor;
import org.bouncycastle.operator.jcajce.JcaAlgorithmParametersConverter;
import org.bouncycastle.operator.jcajce.JcaContentSignerBuilder;
import org.bouncycastle.operator.jcajce.JcaDigestCalculatorProviderBuilder;
import org.bouncycastle.operator.jcajce.JceAsymmetricKeyUnwrapper;
import org.bouncycastle.util.Store;

/**
 * CMS by Bouncy Castle, for lab/bouncycastle.py: one request a line on standard input, one answer a line.
 *
 * <p>Words stand between blanks, octets in base64 (nothing at all as "="): certificates in DER, keys in PKCS #8. An
 * answer is "ok" and octets, or "no" and why.
 *
 * <p>Debian's version knows X25519, but not within CMS: key agreement with it is written here after RFC 8418.
 */
public class BouncyCastle {
    private static final Map<String, ASN1ObjectIdentifier> CIPHERS = Map.of(
            "aes128-cbc", CMSAlgorithm.AES128_CBC, "aes192-cbc", CMSAlgorithm.AES192_CBC,
            "aes256-cbc", CMSAlgorithm.AES256_CBC, "aes128-gcm", CMSAlgorithm.AES128_GCM,
            "aes192-gcm", CMSAlgorithm.AES192_GCM, "aes256-gcm", CMSAlgorithm.AES256_GCM);
    private static final Map<String, String> SCHEMES = Map.of(
            "sha1", "1.3.133.16.840.63.0.2", "sha224", "1.3.132.1.11.0", "sha256", "1.3.132.1.11.1",
            "sha384", "1.3.132.1.11.2", "sha512", "1.3.132.1.11.3", "hkdf-sha256", "1.2.840.113549.1.9.16.3.19",
            "hkdf-sha384", "1.2.840.113549.1.9.16.3.20", "hkdf-sha512", "1.2.840.113549.1.9.16.3.21");
    private static final Map<String, ASN1ObjectIdentifier> WRAPS = Map.of(
            "aes128", CMSAlgorithm.AES128_WRAP, "aes192", CMSAlgorithm.AES192_WRAP, "aes256", CMSAlgorithm.AES256_WRAP);
    private static final byte[] MATERIAL = "user keying material".getBytes();

    public static void main(String[] arguments) throws Exception {
        Security.addProvider(new BouncyCastleProvider());
        BufferedReader requests = new BufferedReader(new InputStreamReader(System.in));
        for (String line = requests.readLine(); line != null; line = requests.readLine()) {
            System.out.println(answer(List.of(line.split(" "))));
            System.out.flush();
        }
    }

    private static String answer(List<String> words) {
        try {
            List<String> rest = words.subList(1, words.size());
            byte[] octets = switch (words.get(0)) {
                case "encrypt" -> encrypt(rest.get(0), octets(rest.get(1)), rest.subList(2, rest.size()));
                case "decrypt" -> decrypt(octets(rest.get(0)), key(rest.get(1)), certificate(rest.get(2)));
                case "sign" ->
                    sign(rest.get(0), rest.get(1).equals("attached"), octets(rest.get(2)), rest.get(3), rest.get(4));
                case "verify" -> verify(octets(rest.get(0)), rest.get(1), rest.subList(2, rest.size()));
                default -> throw new IllegalArgumentException("no such request");
            };
            return "ok " + (octets.length == 0 ? "=" : Base64.getEncoder().encodeToString(octets));
        } catch (Exception | Error fault) {
            return "no " + String.valueOf(fault).replaceAll("\\s+", " ");
        }
    }

    /** A recipient is METHOD:CERTIFICATE; a method rsa, oaep-HASH, or SCHEME/WRAP, with +keyid and +ukm behind it. */
    private static byte[] encrypt(String cipher, byte[] content, List<String> recipients) throws Exception {
        List<RecipientInfoGenerator> generators = new ArrayList<>();
        for (String one : recipients) {
            String[] parts = one.split(":");
            List<String> method = Arrays.asList(parts[0].split("\\+"));
            boolean keyId = method.contains("keyid");
            generators.add(recipient(method.get(0), keyId, method.contains("ukm"), certificate(parts[1])));
        }
        String name = cipher.replace("+attributes", "");
        JceCMSContentEncryptorBuilder builder = new JceCMSContentEncryptorBuilder(CIPHERS.get(name)).setProvider("BC");
        CMSProcessableByteArray data = new CMSProcessableByteArray(content);
        if (name.endsWith("gcm")) {
            CMSAuthEnvelopedDataGenerator generator = new CMSAuthEnvelopedDataGenerator();
            generators.forEach(generator::addRecipientInfoGenerator);
            if (!name.equals(cipher)) {
                generator.setAuthenticatedAttributeGenerator(new SimpleAttributeTableGenerator(attributes()));
            }
            return generator.generate(data, (OutputAEADEncryptor) builder.build()).getEncoded();
        }
        CMSEnvelopedDataGenerator generator = new CMSEnvelopedDataGenerator();
        generators.forEach(generator::addRecipientInfoGenerator);
        return generator.generate(data, builder.build()).getEncoded();
    }

    private static AttributeTable attributes() {
        ASN1ObjectIdentifier hint = new ASN1ObjectIdentifier("1.2.840.113549.1.9.16.2.4"); // id-aa-contentHint
        Hashtable<ASN1ObjectIdentifier, Attribute> table = new Hashtable<>();
        ASN1Encodable[] value = {new DERUTF8String("a hint"), CMSObjectIdentifiers.data};
        table.put(hint, new Attribute(hint, new DERSet(new DERSequence(value))));
        return new AttributeTable(table);
    }

    private static RecipientInfoGenerator recipient(String method, boolean keyId, boolean material, X509Certificate to)
            throws Exception {
        if (method.equals("rsa")) {
            return keyId
                    ? new JceKeyTransRecipientInfoGenerator(identifier(to), to.getPublicKey()).setProvider("BC")
                    : new JceKeyTransRecipientInfoGenerator(to).setProvider("BC");
        }
        if (method.startsWith("oaep-")) {
            String hash = method.substring(5);
            AlgorithmIdentifier oaep = new JcaAlgorithmParametersConverter().getAlgorithmIdentifier(
                    PKCSObjectIdentifiers.id_RSAES_OAEP,
                    new OAEPParameterSpec(hash, "MGF1", new MGF1ParameterSpec(hash), PSource.PSpecified.DEFAULT));
            return new JceKeyTransRecipientInfoGenerator(to, oaep).setProvider("BC");
        }
        String[] scheme = method.split("/");
        ASN1ObjectIdentifier agreement = new ASN1ObjectIdentifier(SCHEMES.get(scheme[0]));
        if (isMontgomery(to.getPublicKey())) {
            return content -> agreed(content, agreement, WRAPS.get(scheme[1]), keyId, material, to);
        }
        KeyPairGenerator pairs = KeyPairGenerator.getInstance("EC", "BC");
        pairs.initialize(((ECPublicKey) to.getPublicKey()).getParams());
        KeyPair ephemeral = pairs.generateKeyPair();
        JceKeyAgreeRecipientInfoGenerator generator = new JceKeyAgreeRecipientInfoGenerator(
                agreement, ephemeral.getPrivate(), ephemeral.getPublic(), WRAPS.get(scheme[1])).setProvider("BC");
        if (material) {
            generator.setUserKeyingMaterial(MATERIAL);
        }
        return keyId ? generator.addRecipient(identifier(to), to.getPublicKey()) : generator.addRecipient(to);
    }

    /** Writes KeyAgreeRecipientInfo for X25519 (RFC 8418 section 2). */
    private static RecipientInfo agreed(GenericKey content, ASN1ObjectIdentifier scheme, ASN1ObjectIdentifier wrap,
            boolean keyId, boolean material, X509Certificate to) {
        try {
            KeyPair ephemeral = KeyPairGenerator.getInstance("X25519", "BC").generateKeyPair();
            byte[] ukm = material ? MATERIAL : null;
            AlgorithmIdentifier wrapping = new AlgorithmIdentifier(wrap);
            Cipher wrapper = Cipher.getInstance("AESWrap", "BC");
            wrapper.init(Cipher.WRAP_MODE, derived(ephemeral.getPrivate(), to.getPublicKey(), scheme, wrapping, ukm));
            byte[] hidden = wrapper.wrap(new SecretKeySpec((byte[]) content.getRepresentation(), "AES"));
            SubjectPublicKeyInfo own = SubjectPublicKeyInfo.getInstance(ephemeral.getPublic().getEncoded());
            KeyAgreeRecipientIdentifier whom = keyId
                    ? new KeyAgreeRecipientIdentifier(new RecipientKeyIdentifier(identifier(to)))
                    : new KeyAgreeRecipientIdentifier(issuerAndSerial(to));
            return new RecipientInfo(new KeyAgreeRecipientInfo(
                    new OriginatorIdentifierOrKey(
                            new OriginatorPublicKey(own.getAlgorithm(), own.getPublicKeyData().getBytes())),
                    material ? new DEROctetString(ukm) : null,
                    new AlgorithmIdentifier(scheme, wrapping),
                    new DERSequence(new RecipientEncryptedKey(whom, new DEROctetString(hidden)))));
        } catch (Exception fault) {
            throw new IllegalStateException(fault);
        }
    }

    /** Derives the wrapping key: X9.63 (RFC 5753 section 7.2), or HKDF whose salt is the user keying material. */
    private static SecretKeySpec derived(PrivateKey own, PublicKey theirs, ASN1ObjectIdentifier scheme,
            AlgorithmIdentifier wrap, byte[] ukm) throws Exception {
        KeyAgreement agreement = KeyAgreement.getInstance(isMontgomery(theirs) ? "X25519" : "ECDH", "BC");
        agreement.init(own);
        agreement.doPhase(theirs, true);
        int size = wrap.getAlgorithm().equals(CMSAlgorithm.AES128_WRAP) ? 16
                : wrap.getAlgorithm().equals(CMSAlgorithm.AES192_WRAP) ? 24 : 32;
        byte[] bits = {0, 0, (byte) (size * 8 >> 8), (byte) (size * 8)};
        byte[] shared = new ECCCMSSharedInfo(wrap, ukm, bits).getEncoded(ASN1Encoding.DER);
        String name = SCHEMES.entrySet().stream()
                .filter(entry -> entry.getValue().equals(scheme.getId())).findFirst().orElseThrow().getKey();
        Digest digest = digest(name.replace("hkdf-", ""));
        DerivationFunction function;
        if (name.startsWith("hkdf-")) {
            function = new HKDFBytesGenerator(digest);
            function.init(new HKDFParameters(agreement.generateSecret(), ukm, shared));
        } else {
            function = new KDF2BytesGenerator(digest);
            function.init(new KDFParameters(agreement.generateSecret(), shared));
        }
        byte[] key = new byte[size];
        function.generateBytes(key, 0, size);
        return new SecretKeySpec(key, "AES");
    }

    private static Digest digest(String name) {
        return switch (name) {
            case "sha1" -> new SHA1Digest();
            case "sha224" -> new SHA224Digest();
            case "sha256" -> new SHA256Digest();
            case "sha384" -> new SHA384Digest();
            default -> new SHA512Digest();
        };
    }

    private static byte[] decrypt(byte[] data, PrivateKey own, X509Certificate certificate) throws Exception {
        ContentInfo info = ContentInfo.getInstance(data);
        if (info.getContentType().equals(CMSObjectIdentifiers.authEnvelopedData)) {
            AuthEnvelopedData envelope = AuthEnvelopedData.getInstance(info.getContent());
            EncryptedContentInfo content = envelope.getAuthEncryptedContentInfo();
            Cipher cipher = cipher(content, contentKey(envelope.getRecipientInfos(), content, own, certificate));
            if (envelope.getAuthAttrs() != null) {
                cipher.updateAAD(envelope.getAuthAttrs().getEncoded(ASN1Encoding.DER));
            }
            byte[] plain = cipher.update(content.getEncryptedContent().getOctets());
            return org.bouncycastle.util.Arrays.concatenate(plain, cipher.doFinal(envelope.getMac().getOctets()));
        }
        EnvelopedData envelope = EnvelopedData.getInstance(info.getContent());
        EncryptedContentInfo content = envelope.getEncryptedContentInfo();
        Cipher cipher = cipher(content, contentKey(envelope.getRecipientInfos(), content, own, certificate));
        return cipher.doFinal(content.getEncryptedContent().getOctets());
    }

    private static Cipher cipher(EncryptedContentInfo content, byte[] key) throws Exception {
        AlgorithmIdentifier algorithm = content.getContentEncryptionAlgorithm();
        String name = algorithm.getAlgorithm().getId();
        AlgorithmParameters parameters = AlgorithmParameters.getInstance(name, "BC");
        parameters.init(algorithm.getParameters().toASN1Primitive().getEncoded());
        Cipher cipher = Cipher.getInstance(name, "BC");
        cipher.init(Cipher.DECRYPT_MODE, new SecretKeySpec(key, "AES"), parameters);
        return cipher;
    }

    private static byte[] contentKey(ASN1Set recipients, EncryptedContentInfo content, PrivateKey own,
            X509Certificate certificate) throws Exception {
        for (ASN1Encodable one : recipients) {
            ASN1Encodable info = RecipientInfo.getInstance(one).getInfo();
            if (info instanceof KeyTransRecipientInfo transport
                    && isFor(transport.getRecipientIdentifier(), certificate)) {
                GenericKey found = new JceAsymmetricKeyUnwrapper(transport.getKeyEncryptionAlgorithm(), own)
                        .setProvider("BC").setMustProduceEncodableUnwrappedKey(true).generateUnwrappedKey(
                                content.getContentEncryptionAlgorithm(), transport.getEncryptedKey().getOctets());
                return (byte[]) found.getRepresentation();
            }
            if (info instanceof KeyAgreeRecipientInfo agreement) {
                for (ASN1Encodable each : agreement.getRecipientEncryptedKeys()) {
                    RecipientEncryptedKey key = RecipientEncryptedKey.getInstance(each);
                    if (isFor(key.getIdentifier(), certificate)) {
                        return agreedKey(agreement, key.getEncryptedKey().getOctets(), own, certificate);
                    }
                }
            }
        }
        throw new IllegalArgumentException("no recipient is this certificate");
    }

    private static byte[] agreedKey(KeyAgreeRecipientInfo info, byte[] hidden, PrivateKey own,
            X509Certificate certificate) throws Exception {
        AlgorithmIdentifier scheme = info.getKeyEncryptionAlgorithm();
        ASN1OctetString ukm = info.getUserKeyingMaterial();
        OriginatorPublicKey sender = info.getOriginator().getOriginatorKey();
        // the curve is that of our own key, which the originator may leave out
        PublicKey ours = certificate.getPublicKey();
        AlgorithmIdentifier curve = SubjectPublicKeyInfo.getInstance(ours.getEncoded()).getAlgorithm();
        if (!sender.getAlgorithm().getAlgorithm().equals(curve.getAlgorithm())) {
            throw new IllegalArgumentException("the originator's key is of another kind");
        }
        byte[] encoded = new SubjectPublicKeyInfo(curve, sender.getPublicKey().getBytes()).getEncoded();
        PublicKey theirs = KeyFactory.getInstance(isMontgomery(ours) ? "X25519" : "EC", "BC")
                .generatePublic(new X509EncodedKeySpec(encoded));
        Cipher wrapper = Cipher.getInstance("AESWrap", "BC");
        wrapper.init(Cipher.UNWRAP_MODE, derived(own, theirs, scheme.getAlgorithm(),
                AlgorithmIdentifier.getInstance(scheme.getParameters()), ukm == null ? null : ukm.getOctets()));
        return wrapper.unwrap(hidden, "AES", Cipher.SECRET_KEY).getEncoded();
    }

    private static byte[] sign(String algorithm, boolean attached, byte[] content, String key, String certificate)
            throws Exception {
        X509Certificate signer = certificate(certificate);
        CMSSignedDataGenerator generator = new CMSSignedDataGenerator();
        generator.addSignerInfoGenerator(new JcaSignerInfoGeneratorBuilder(
                new JcaDigestCalculatorProviderBuilder().setProvider("BC").build()).build(
                        new JcaContentSignerBuilder(algorithm).setProvider("BC").build(key(key)), signer));
        generator.addCertificates(new JcaCertStore(List.of(signer)));
        CMSSignedData made = generator.generate(new CMSProcessableByteArray(content), attached);
        return made.toASN1Structure().getEncoded(ASN1Encoding.DER);
    }

    /** Gives the content where there is a signer and every one's signature is good, by one of these certificates. */
    @SuppressWarnings("unchecked") // the store gives what it was made of
    private static byte[] verify(byte[] data, String content, List<String> certificates) throws Exception {
        CMSSignedData signed = content.equals("-")
                ? new CMSSignedData(data) : new CMSSignedData(new CMSProcessableByteArray(octets(content)), data);
        if (signed.getSignerInfos().size() == 0) {
            throw new IllegalArgumentException("nobody signed");
        }
        List<X509Certificate> known = new ArrayList<>();
        for (String one : certificates) {
            known.add(certificate(one));
        }
        Store<X509CertificateHolder> store = new JcaCertStore(known);
        for (SignerInformation signer : signed.getSignerInfos()) {
            Collection<X509CertificateHolder> found = store.getMatches(signer.getSID());
            if (found.size() != 1 || !signer.verify(
                    new JcaSimpleSignerInfoVerifierBuilder().setProvider("BC").build(found.iterator().next()))) {
                throw new IllegalArgumentException("a signature is wrong, or by another");
            }
        }
        return (byte[]) signed.getSignedContent().getContent();
    }

    private static boolean isMontgomery(PublicKey key) {
        return key.getAlgorithm().equals("X25519") || key.getAlgorithm().equals("XDH");
    }

    private static boolean isFor(RecipientIdentifier whom, X509Certificate certificate) throws Exception {
        return whom.getId() instanceof ASN1OctetString octets
                ? Arrays.equals(octets.getOctets(), identifier(certificate))
                : !(whom.getId() instanceof ASN1TaggedObject)
                        && IssuerAndSerialNumber.getInstance(whom.getId()).equals(issuerAndSerial(certificate));
    }

    private static boolean isFor(KeyAgreeRecipientIdentifier whom, X509Certificate certificate) throws Exception {
        return whom.getRKeyID() != null
                ? Arrays.equals(whom.getRKeyID().getSubjectKeyIdentifier().getOctets(), identifier(certificate))
                : whom.getIssuerAndSerialNumber().equals(issuerAndSerial(certificate));
    }

    private static byte[] identifier(X509Certificate certificate) throws Exception {
        return SubjectKeyIdentifier.fromExtensions(new JcaX509CertificateHolder(certificate).getExtensions())
                .getKeyIdentifier();
    }

    private static IssuerAndSerialNumber issuerAndSerial(X509Certificate certificate) throws Exception {
        return new IssuerAndSerialNumber(new JcaX509CertificateHolder(certificate).toASN1Structure());
    }

    private static byte[] octets(String word) {
        return word.equals("=") ? new byte[0] : Base64.getDecoder().decode(word);
    }

    private static X509Certificate certificate(String word) throws Exception {
        return (X509Certificate) CertificateFactory.getInstance("X.509", "BC")
                .generateCertificate(new ByteArrayInputStream(octets(word)));
    }

    private static PrivateKey key(String word) throws Exception {
        return BouncyCastleProvider.getPrivateKey(PrivateKeyInfo.getInstance(octets(word)));
    }
}
