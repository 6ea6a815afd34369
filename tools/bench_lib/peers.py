"""nginx and HAProxy as mutual-TLS hops for TCP. Both as installed, but for what makes them comparable: TLS 1.3 with
AES-128-GCM, certificates as large as the mesh's (ECDSA P-256, a leaf and its root), as many workers, access log alike.
Session tickets and resumption stay as each does them by default."""
import os
import shutil

from lab_lib.shell import run, write_file

from .lanes import CLIENT, SERVER, SERVER_PORT, Lane

CAPTURE_PORT = 15001
CIPHER = "TLS_AES_128_GCM_SHA256"
IDLE_LIMIT = "1h"
NGINX_STREAM_MODULE = "/usr/lib/nginx/modules/ngx_stream_module.so"


def make_certificates(folder):
    """root.pem, and for each of client and server NAME.pem, NAME.key and NAME.both, the two in one."""
    os.makedirs(folder, 0o700)
    path = lambda name: os.path.join(folder, name)  # noqa: E731
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    run(["openssl", "req", "-x509", *key, "-keyout", path("root.key"), "-out", path("root.pem"), "-days", "2",
         "-subj", "/O=cluster.local", "-addext", "keyUsage=critical,keyCertSign,cRLSign"])
    for name in ("client", "server"):
        write_file(path(name + ".ext"), "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n"
                   "extendedKeyUsage=serverAuth,clientAuth\n"
                   "subjectAltName=critical,URI:spiffe://cluster.local/ns/bench/sa/%s,DNS:%s\n" % (name, name))
        run(["openssl", "req", "-new", *key, "-subj", "/", "-keyout", path(name + ".key"), "-out", path(name + ".csr")])
        run(["openssl", "x509", "-req", "-in", path(name + ".csr"), "-CA", path("root.pem"), "-CAkey", path("root.key"),
             "-CAcreateserial", "-days", "1", "-sha256", "-extfile", path(name + ".ext"), "-out", path(name + ".pem")])
        with open(path(name + ".pem")) as leaf, open(path(name + ".key")) as secret:
            write_file(path(name + ".both"), leaf.read() + secret.read())


class Peer(Lane):
    """A program on each side that listens in its pod and dials the next hop."""

    tls_port = 15443

    def target(self):
        return "127.0.0.1", CAPTURE_PORT

    def start_proxies(self):
        folder = os.path.join(self.lab.folder, self.name)
        certificates = os.path.join(folder, "certificates")
        make_certificates(certificates)
        for side, pod, port in (("b", SERVER, self.tls_port), ("a", CLIENT, CAPTURE_PORT)):
            home = os.path.join(folder, side)
            os.makedirs(home)
            config = os.path.join(home, "config")
            write_file(config, self.config(side, home, certificates))
            self.proxies[side] = self.run_in(pod, self.name, self.command(config, home))
            self.until_listening(pod, port, self.proxies[side])


class Nginx(Peer):
    name = "nginx"

    @staticmethod
    def missing(settings):
        found = [] if shutil.which("nginx") else ["nginx (tools/setup bench)"]
        if not os.path.exists(NGINX_STREAM_MODULE):
            found.append("nginx's stream module (tools/setup bench)")
        return found

    def command(self, config, home):
        return ["nginx", "-c", config, "-p", home, "-e", os.path.join(home, "error.log")]

    def config(self, side, home, certificates):
        # The two sides of a connection, as many connections as are held idle, and as many again for the other measurements.
        connections = 4 * self.settings.idle_connections + 1024
        log = "log_format line '$remote_addr:$remote_port [$time_iso8601] $status $bytes_sent $bytes_received " \
              "$session_time $upstream_addr'; access_log %s/access.log line;" % home if self.settings.log else "access_log off;"
        if side == "a":
            server = ("listen 127.0.0.1:%d backlog=4096; proxy_pass %s:%d; proxy_ssl on; proxy_ssl_protocols TLSv1.3;\n"
                      "    proxy_ssl_conf_command Ciphersuites %s; proxy_ssl_verify on; proxy_ssl_name server;\n"
                      "    proxy_ssl_certificate %s/client.pem; proxy_ssl_certificate_key %s/client.key;\n"
                      "    proxy_ssl_trusted_certificate %s/root.pem;"
                      % (CAPTURE_PORT, self.address(SERVER), self.tls_port, CIPHER, *[certificates] * 3))
        else:
            server = ("listen %s:%d ssl backlog=4096; proxy_pass 127.0.0.1:%d; ssl_protocols TLSv1.3;\n"
                      "    ssl_conf_command Ciphersuites %s; ssl_verify_client on;\n"
                      "    ssl_certificate %s/server.pem; ssl_certificate_key %s/server.key;\n"
                      "    ssl_client_certificate %s/root.pem;"
                      % (self.address(SERVER), self.tls_port, SERVER_PORT, CIPHER, *[certificates] * 3))
        # proxy_half_close: without it nginx drops what is under way when one side finishes writing.
        return ("load_module %s;\nuser root;\ndaemon off;\nworker_processes %d;\npid %s/pid;\nworker_rlimit_nofile %d;\n"
                "events { worker_connections %d; }\nstream {\n  %s\n  proxy_timeout %s; proxy_half_close on;\n"
                "  server {\n    %s\n  }\n}\n"
                % (NGINX_STREAM_MODULE, self.settings.workers, home, min(connections, self.settings.descriptors),
                   connections, log, IDLE_LIMIT, server))

    def version(self):
        said = run(["nginx", "-V"], check=False).stderr
        ssl = next((line for line in said.splitlines() if "OpenSSL" in line), "OpenSSL unknown")
        return said.splitlines()[0].rpartition(" ")[2] + ", " + ssl


class Haproxy(Peer):
    name = "haproxy"

    @staticmethod
    def missing(settings):
        return [] if shutil.which("haproxy") else ["HAProxy (tools/setup bench)"]

    def command(self, config, home):
        return ["haproxy", "-db", "-f", config]

    def config(self, side, home, certificates):
        log = "  log stdout format raw local0\n" if self.settings.log else ""
        lines = ("global\n  nbthread %d\n  maxconn %d\n%s"
                 "  ssl-default-bind-ciphersuites %s\n  ssl-default-bind-options ssl-min-ver TLSv1.3\n"
                 "  ssl-default-server-ciphersuites %s\n  ssl-default-server-options ssl-min-ver TLSv1.3\n"
                 "defaults\n  mode tcp\n  timeout connect 10s\n  timeout client %s\n  timeout server %s\n%s"
                 % (self.settings.workers, 2 * self.settings.idle_connections + 512, log, CIPHER, CIPHER, IDLE_LIMIT,
                    IDLE_LIMIT, "  log global\n  option tcplog\n" if self.settings.log else ""))
        if side == "a":
            return lines + ("listen out\n  bind 127.0.0.1:%d backlog 4096\n  server next %s:%d ssl crt %s/client.both "
                            "ca-file %s/root.pem verify required verifyhost server\n"
                            % (CAPTURE_PORT, self.address(SERVER), self.tls_port, certificates, certificates))
        return lines + ("listen in\n  bind %s:%d backlog 4096 ssl crt %s/server.both ca-file %s/root.pem verify required\n"
                        "  server next 127.0.0.1:%d\n"
                        % (self.address(SERVER), self.tls_port, certificates, certificates, SERVER_PORT))

    def version(self):
        said = run(["haproxy", "-vv"], check=False).stdout.splitlines()
        ssl = next((line.partition(":")[2].strip() for line in said if line.startswith("Running on OpenSSL")), "OpenSSL unknown")
        return said[0].split()[2] + ", running on " + ssl
