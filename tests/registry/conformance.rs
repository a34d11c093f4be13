//! The pull side of the OCI distribution specification 1.1. The specification's words stand above what they are held to.

use reqwest::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, LINK, RANGE};
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};

use super::made::{MANIFEST, Made};
use super::running::{Running, serve};

pub fn client() -> Client {
    provision::bundle::tls_init();
    Client::builder().no_proxy().build().unwrap()
}

struct Site {
    made: Made,
    server: Running,
    client: Client,
}

impl Site {
    fn new() -> Self {
        let made = Made::new();
        let server = serve(&made, &["--plain-http"]);
        Self { made, server, client: client() }
    }

    async fn ask(&self, method: Method, path: &str) -> Response {
        self.client.request(method, format!("http://{}{path}", self.server.address)).send().await.unwrap()
    }

    async fn get(&self, path: &str) -> Response {
        self.ask(Method::GET, path).await
    }

    async fn json(&self, path: &str) -> Value {
        let answer = self.get(path).await;
        assert_eq!(answer.status(), 200, "{path}");
        answer.json().await.unwrap()
    }

    /// Status and the specification's error code.
    async fn refused(&self, method: Method, path: &str) -> (u16, String) {
        let answer = self.ask(method, path).await;
        let status = answer.status().as_u16();
        // "If the response body is in JSON format, it MUST have the following format: errors: code, message, detail."
        assert_eq!(answer.headers()[CONTENT_TYPE], "application/json");
        let body: Value = answer.json().await.unwrap();
        assert!(body["errors"][0]["message"].as_str().is_some_and(|m| !m.is_empty()));
        (status, body["errors"][0]["code"].as_str().unwrap().to_owned())
    }
}

fn header<'a>(answer: &'a Response, name: &str) -> &'a str {
    answer.headers().get(name).unwrap_or_else(|| panic!("no {name}")).to_str().unwrap()
}

#[tokio::test]
async fn manifests_are_pulled() {
    let site = Site::new();
    // "This endpoint MAY be used for authentication/authorization purposes, but this is out of the purview of this
    // specification": GET /v2/ 200.
    assert_eq!(site.get("/v2/").await.status(), 200);
    let digest = site.made.manifest("registry.k8s.io/sig/tags:v1", "amd64");
    for reference in ["v1", &digest] {
        let path = format!("/v2/registry.k8s.io/sig/tags/manifests/{reference}");
        let answer = site.get(&path).await;
        // "A GET request to an existing manifest URL MUST provide the expected manifest, with a response code that
        // MUST be 200 OK. A successful response MUST contain the digest of the uploaded blob in the header
        // Docker-Content-Digest."
        assert_eq!(answer.status(), 200);
        assert_eq!(header(&answer, "docker-content-digest"), digest);
        // "In a successful response, the Content-Type header will indicate the type of the returned manifest. The
        // registry SHOULD NOT include parameters on the Content-Type header."
        assert_eq!(answer.headers()[CONTENT_TYPE], MANIFEST);
        let body = answer.bytes().await.unwrap();
        assert_eq!(provision::bundle::Digest::of(&body).to_string(), digest);
        // "The Content-Type header SHOULD match what the client pushed as the manifest's Content-Type. If the manifest
        // has a mediaType field, clients SHOULD reject unless the mediaType field's value matches the type specified
        // by the Content-Type header."
        assert_eq!(serde_json::from_slice::<Value>(&body).unwrap()["mediaType"], MANIFEST);
        // "A HEAD request to an existing blob or manifest URL MUST return 200 OK. A successful response SHOULD contain
        // the size in bytes of the uploaded blob in the header Content-Length."
        let head = site.ask(Method::HEAD, &path).await;
        assert_eq!((head.status().as_u16(), header(&head, "docker-content-digest")), (200, digest.as_str()));
        assert_eq!(head.headers()[CONTENT_LENGTH], body.len().to_string());
        assert_eq!(head.bytes().await.unwrap().len(), 0);
    }
    // "If the manifest is not found in the repository, the response code MUST be 404 Not Found."
    let zero = format!("sha256:{}", "0".repeat(64));
    let other = site.made.manifest("registry.k8s.io/pause:3.10", "amd64");
    for reference in ["latest", &zero, &other, &format!("sha512:{}", "0".repeat(128)), ".not-a-tag"] {
        let path = format!("/v2/registry.k8s.io/sig/tags/manifests/{reference}");
        assert_eq!(site.refused(Method::GET, &path).await, (404, "MANIFEST_UNKNOWN".into()), "{reference}");
        // "If the blob or manifest is not found in the registry, the response code MUST be 404 Not Found." (HEAD)
        assert_eq!(site.ask(Method::HEAD, &path).await.status(), 404);
    }
    assert_eq!(site.refused(Method::GET, "/v2/no/such/manifests/v1").await, (404, "NAME_UNKNOWN".into()));
    // "<name> MUST match the following regular expression".
    assert_eq!(site.refused(Method::GET, "/v2/NOT/manifests/v1").await, (400, "NAME_INVALID".into()));
    // "code-3 DIGEST_INVALID: provided digest did not match uploaded content", or is none at all.
    let path = "/v2/registry.k8s.io/sig/tags/manifests/sha256:12";
    assert_eq!(site.refused(Method::GET, path).await, (400, "DIGEST_INVALID".into()));
}

#[tokio::test]
async fn blobs_are_pulled() {
    let site = Site::new();
    let (digest, size) = site.made.largest("registry.k8s.io/pause:3.10", "amd64");
    let whole = std::fs::read(site.made.blob(&digest)).unwrap();
    let path = format!("/v2/registry.k8s.io/pause/blobs/{digest}");
    // A HEAD and a part come before anybody had all of it.
    let head = site.ask(Method::HEAD, &path).await;
    assert_eq!((head.status().as_u16(), header(&head, "content-length")), (200, size.to_string().as_str()));
    let url = format!("http://{}{path}", site.server.address);
    for (range, from, to) in [
        ("bytes=0-0", 0, 1),
        ("bytes=10-99", 10, 100),
        ("bytes=2999990-", 2_999_990, whole.len()),
        ("bytes=-7", whole.len() - 7, whole.len()),
    ] {
        // "A registry SHOULD support the Range request header in accordance with RFC 9110."
        let answer = site.client.get(&url).header(RANGE, range).send().await.unwrap();
        assert_eq!(answer.status(), 206, "{range}");
        assert_eq!(answer.headers()[CONTENT_RANGE], format!("bytes {from}-{}/{size}", to - 1));
        assert_eq!(answer.headers()[CONTENT_LENGTH], (to - from).to_string());
        assert_eq!(answer.bytes().await.unwrap(), whole[from..to]);
    }
    let answer = site.client.get(&url).header(RANGE, format!("bytes={size}-")).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), header(&answer, "content-range")), (416, format!("bytes */{size}").as_str()));
    let answer = site.client.get(&url).header(RANGE, "bytes=4-1").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    // "A GET request to an existing blob URL MUST provide the expected blob, with a response code that MUST be 200 OK.
    // A successful response MUST contain the digest of the uploaded blob in the header Docker-Content-Digest. If
    // present, the value of this header MUST be a digest matching that of the response body."
    let answer = site.get(&path).await;
    assert_eq!((answer.status().as_u16(), header(&answer, "docker-content-digest")), (200, digest.as_str()));
    assert_eq!(answer.headers()[ACCEPT_RANGES], "bytes");
    assert_eq!(answer.bytes().await.unwrap(), whole);
    // "If the blob is not found in the repository, the response code MUST be 404 Not Found."
    let zero = format!("sha256:{}", "0".repeat(64));
    for (repository, digest) in
        [("registry.k8s.io/pause", zero.as_str()), ("registry.k8s.io/sig/tags", digest.as_str())]
    {
        let path = format!("/v2/{repository}/blobs/{digest}");
        assert_eq!(site.refused(Method::GET, &path).await, (404, "BLOB_UNKNOWN".into()));
        assert_eq!(site.ask(Method::HEAD, &path).await.status(), 404);
    }
    let path = "/v2/registry.k8s.io/pause/blobs/latest";
    assert_eq!(site.refused(Method::GET, path).await, (400, "DIGEST_INVALID".into()));
}

#[tokio::test]
async fn tags_and_repositories_are_listed() {
    let site = Site::new();
    let base = "/v2/registry.k8s.io/sig/tags/tags/list";
    // "Upon success, the response MUST be a json body in the following format: name, tags. The tags MUST be in lexical
    // (i.e. case-insensitive alphanumeric) order."
    let all = site.json(base).await;
    assert_eq!(all, json!({ "name": "registry.k8s.io/sig/tags", "tags": ["a", "B", "v1", "v2", "V3"] }));
    // "The response to such a request MAY return fewer than <int> results, but only when the total number of tags
    // attached to the repository is less than <int> or a Link header is provided. Otherwise, the response MUST include
    // <int> results."
    let (mut seen, mut path) = (Vec::new(), format!("{base}?n=2"));
    loop {
        let answer = site.get(&path).await;
        // "A Link header MAY be included in the response when additional tags are available. If included, the Link
        // header MUST be set according to RFC 5988 with the Relation Type rel="next"."
        let link = answer.headers().get(LINK).map(|l| l.to_str().unwrap().to_owned());
        let page: Value = answer.json().await.unwrap();
        seen.extend(page["tags"].as_array().unwrap().clone());
        let Some(link) = link else { break };
        assert!(link.ends_with(">; rel=\"next\""), "{link}");
        assert_eq!(page["tags"].as_array().unwrap().len(), 2);
        path = link.trim_start_matches('<').split('>').next().unwrap().to_owned();
    }
    assert_eq!(json!(seen), all["tags"]);
    // "When n is zero, this endpoint MUST return an empty list, and MUST NOT include a Link header."
    let none = site.get(&format!("{base}?n=0")).await;
    assert!(none.headers().get(LINK).is_none());
    assert_eq!(none.json::<Value>().await.unwrap()["tags"], json!([]));
    // "Without the last query parameter (described next), the list returned will start at the beginning of the list ...
    // The <tagname> value MUST NOT be a numerical index, but rather it MUST be a proper tag."
    assert_eq!(site.json(&format!("{base}?last=v1")).await["tags"], json!(["v2", "V3"]));
    assert_eq!(site.json(&format!("{base}?n=1&last=b")).await["tags"], json!(["v1"]));
    assert_eq!(site.json(&format!("{base}?last=zzz")).await["tags"], json!([]));
    // "If the repository is not found, the response code MUST be 404 Not Found."
    assert_eq!(site.refused(Method::GET, "/v2/no/such/tags/list").await, (404, "NAME_UNKNOWN".into()));
    assert_eq!(site.get(&format!("{base}?n=x")).await.status(), 400);
    let names = site.json("/v2/_catalog").await;
    assert_eq!(
        names["repositories"],
        json!([
            "docker.io/library/busybox",
            "provision/kubeadm",
            "provision/kubelet",
            "quay.io/library/busybox",
            "registry.k8s.io/pause",
            "registry.k8s.io/sig/tags",
        ])
    );
    assert_eq!(
        site.json("/v2/_catalog?n=1&last=provision/kubeadm").await["repositories"],
        json!(["provision/kubelet"])
    );
}

#[tokio::test]
async fn signatures_are_listed_by_what_they_are_of() {
    let (made, subject, manifest) = Made::signed();
    let server = serve(&made, &["--plain-http"]);
    let get = |rest: &str| {
        let url = format!("http://{}/v2/provision/kubeadm/{rest}", server.address);
        async move { client().get(url).send().await.unwrap() }
    };
    let index: Value = get(&format!("referrers/{subject}")).await.json().await.unwrap();
    let size = std::fs::metadata(made.blob(&manifest)).unwrap().len();
    // "Each descriptor is of an image manifest or index in the same <name> namespace with a subject field that specifies
    // the value of <digest>. The descriptors MUST include an artifactType field that is set to the value of the
    // artifactType in the image manifest or index, if present. [...] The descriptors MUST include annotations from the
    // image manifest or index."
    let kind = "application/vnd.provision.signature.v1";
    let entry = json!({
        "mediaType": MANIFEST, "digest": manifest, "size": size, "artifactType": kind, "annotations": { "a": "b" },
    });
    assert_eq!(index["manifests"], json!([entry]));
    // "If filtering is requested and applied, the response MUST include a header OCI-Filters-Applied: artifactType".
    for (asked, found) in [(kind, 1), ("application/other", 0)] {
        let answer = get(&format!("referrers/{subject}?artifactType={asked}")).await;
        assert_eq!(answer.headers()["oci-filters-applied"], "artifactType");
        let index: Value = answer.json().await.unwrap();
        assert_eq!(index["manifests"].as_array().unwrap().len(), found);
    }
    let none: Value = get(&format!("referrers/{manifest}")).await.json().await.unwrap();
    assert_eq!(none["manifests"], json!([]));
    // And by tag, beside what it is of.
    let tagged = get("manifests/1.36.2-amd64.sig").await;
    assert_eq!(tagged.headers()["docker-content-digest"], manifest.as_str());
}

#[tokio::test]
async fn referrers_are_an_empty_index_and_writes_are_refused() {
    let site = Site::new();
    let digest = site.made.manifest("registry.k8s.io/pause:3.10", "amd64");
    // "Upon success, the response MUST be a JSON body with an image index containing a list of descriptors. The
    // Content-Type header MUST be set to application/vnd.oci.image.index.v1+json. If the registry supports the
    // referrers API, the registry MUST NOT return a 404 Not Found to a referrers API requests. If the query results in
    // no matching referrers, an empty manifest list MUST be returned."
    for repository in ["registry.k8s.io/pause", "no/such"] {
        let answer = site.get(&format!("/v2/{repository}/referrers/{digest}")).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()[CONTENT_TYPE], "application/vnd.oci.image.index.v1+json");
        let index: Value = answer.json().await.unwrap();
        assert_eq!((&index["schemaVersion"], &index["manifests"]), (&json!(2), &json!([])));
    }
    // "If the request is invalid, such as a <digest> with an invalid syntax, a 400 Bad Request MUST be returned."
    let path = "/v2/registry.k8s.io/pause/referrers/sha256:1";
    assert_eq!(site.refused(Method::GET, path).await, (400, "DIGEST_INVALID".into()));
    // "If blob deletion is disabled, the registry MUST respond with either a 400 Bad Request or a 405 Method Not
    // Allowed."
    for (method, path) in [
        (Method::DELETE, format!("/v2/registry.k8s.io/pause/blobs/{digest}")),
        (Method::DELETE, "/v2/registry.k8s.io/pause/manifests/3.10".into()),
        (Method::PUT, "/v2/registry.k8s.io/pause/manifests/new".into()),
        (Method::POST, "/v2/registry.k8s.io/pause/blobs/uploads/".into()),
        (Method::PATCH, "/v2/x".into()),
    ] {
        assert_eq!(site.refused(method, &path).await, (405, "UNSUPPORTED".into()), "{path}");
    }
    assert_eq!(site.get("/").await.status(), 404);
}

#[tokio::test]
async fn a_registry_is_only_given_its_own_images() {
    let site = Site::new();
    let config_of = async |path: &str| {
        let answer = site.get(path).await;
        let status = answer.status().as_u16();
        (status, answer.headers().get("docker-content-digest").map(|d| d.to_str().unwrap().to_owned()))
    };
    let (docker, quay) = (
        site.made.manifest("docker.io/library/busybox:1.36", "amd64"),
        site.made.manifest("quay.io/library/busybox:1.36", "amd64"),
    );
    for (path, want) in [
        ("/v2/library/busybox/manifests/1.36?ns=docker.io", Some(&docker)),
        ("/v2/library/busybox/manifests/1.36?ns=quay.io", Some(&quay)),
        ("/v2/quay.io/library/busybox/manifests/1.36", Some(&quay)),
        ("/v2/quay.io/library/busybox/manifests/1.36?ns=quay.io", Some(&quay)),
        // Two registries have it: which is meant?
        ("/v2/library/busybox/manifests/1.36", None),
        // Somebody else's name never gets an image of ours.
        ("/v2/library/busybox/manifests/1.36?ns=evil.example", None),
        ("/v2/quay.io/library/busybox/manifests/1.36?ns=docker.io", None),
        ("/v2/provision/kubeadm/manifests/1.36.2-amd64?ns=docker.io", None),
    ] {
        let want = want.map_or((404, None), |digest| (200, Some(digest.clone())));
        assert_eq!(config_of(path).await, want, "{path}");
    }
    assert_eq!(config_of("/v2/pause/manifests/3.10").await.0, 200);
    assert_eq!(config_of("/v2/provision/kubeadm/manifests/1.36.2-amd64").await.0, 200);
}

#[tokio::test]
async fn a_tag_of_several_architectures_is_the_same_index_everywhere() {
    let (one, other) = (Site::new(), Site::new());
    let path = "/v2/registry.k8s.io/pause/manifests/3.10";
    let answer = one.get(path).await;
    assert_eq!(answer.headers()[CONTENT_TYPE], "application/vnd.oci.image.index.v1+json");
    let digest = header(&answer, "docker-content-digest").to_owned();
    let bytes = answer.bytes().await.unwrap();
    assert_eq!(provision::bundle::Digest::of(&bytes).to_string(), digest);
    assert_eq!(other.get(path).await.bytes().await.unwrap(), bytes);
    let by_digest = one.get(&format!("/v2/pause/manifests/{digest}?ns=registry.k8s.io")).await;
    assert_eq!(by_digest.bytes().await.unwrap(), bytes);
    let index: Value = serde_json::from_slice(&bytes).unwrap();
    let arches: Vec<&str> = index["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["platform"]["architecture"].as_str().unwrap())
        .collect();
    assert_eq!(arches, ["amd64", "arm64"]);
    for arch in arches {
        let digest = one.made.manifest("registry.k8s.io/pause:3.10", arch);
        assert!(index.to_string().contains(&digest));
        assert_eq!(one.get(&format!("/v2/registry.k8s.io/pause/manifests/{digest}")).await.status(), 200);
    }
}
