package web

import (
	"context"
	"strings"
	"testing"

	"intact/rules"
	"intact/rules/facts"
	"intact/rules/facts/facttest"
	"intact/rules/facts/sockets"
)

// row is what is expected of the only server on port 80: "" for none, "ok" for
// one that serves nothing, "?" for one that was not understood, otherwise a part
// of what it serves.
func check(t *testing.T, rows []Server, want string) {
	t.Helper()
	if want == "" {
		if len(rows) > 0 {
			t.Errorf("%+v", rows)
		}
		return
	}
	if len(rows) != 1 {
		t.Fatalf("%+v", rows)
	}
	s := rows[0]
	got := "ok"
	switch {
	case len(s.Serves) > 0:
		got = strings.Join(s.Serves, "; ")
	case !s.Understood:
		got = "?"
	}
	if got != want && !(len(s.Serves) > 0 && want != "ok" && want != "?" && strings.Contains(got, want)) {
		t.Errorf("got %s, want %s: %+v", got, want, s)
	}
	if !s.Understood && len(s.Why) == 0 {
		t.Error("does not say what was not understood")
	}
}

func TestNginx(t *testing.T) {
	const challenge = "location ^~ /.well-known/acme-challenge/ { root /var/www/acme; }\n"
	for _, c := range []struct{ name, server, want string }{
		{"redirects", "listen 80 default_server; listen [::]:80; server_name a b; return 301 https://$host$request_uri;", "ok"},
		{"no listen", "return 308 https://${host}$request_uri;", "ok"},
		{"content", "listen 80; root /var/www;", "all that no location takes"},
		{"no server on port 80", "listen 443 ssl; listen 8080; listen unix:/run/x; root /x;", ""},
		{"TLS on port 80", "listen 80 ssl; root /x;", ""},
		{"loopback", "listen 127.0.0.1:80; listen [::1]:80; listen localhost; root /x;", ""},
		{"an address alone", "listen 10.0.0.1; root /x;", "all that"},
		{"zeros before", "listen 0.0.0.0:080; root /x;", "all that"},
		{"to http", "listen 80; return 301 http://$host/;", "return 301 http://$host/"},
		{"text", `listen 80; return 200 "hello";`, "return 200 hello"},
		{"refused", "listen 80; return 444;", "ok"},
		{"challenges, the rest redirected", "listen 80;" + challenge + "location / { return 301 https://$host$request_uri; }", "ok"},
		{"challenges by a pattern", `listen 80; location ~ ^/\.well-known/acme-challenge/ { root /x; } location / { return 301 https://$host; }`, "ok"},
		{"more than challenges", "listen 80; location /.well-known/ { root /x; } location / { return 301 https://$host; }", "location /.well-known/"},
		{"a pattern that only looks like it", `listen 80; location ~ /\.well-known/acme-challenge/|/admin { root /x; } location / { return 301 https://$host; }`, "location ~"},
		{"challenges alone", "listen 80;" + challenge, "all that no location takes"},
		{"one location serves", "listen 80; location / { return 301 https://$host; } location /api { proxy_pass http://x; }", "location /api"},
		{"exactly / is not all", "listen 80; location = / { return 301 https://$host; }", "all that"},
		{"rewrite", "listen 80; rewrite ^(.*)$ https://$host$1 permanent;", "ok"},
		{"rewrite of some", "listen 80; rewrite ^/a https://$host/a permanent;", "all that"},
		{"rewrite before", "listen 80; rewrite ^/a /b last; return 301 https://$host;", "?"},
		{"break before", "listen 80; break; return 301 https://$host; location / { return 404; }", "ok"},
		{"break before, content", "listen 80; break; return 301 https://$host;", "all that"},
		{"if always", "listen 80; if ($scheme != https) { return 301 https://$host$request_uri; } root /x;", "ok"},
		{"if always, in quotes", `listen 80; if ($https = "") { return 301 https://$host$request_uri; } root /x;`, "ok"},
		{"if sometimes", "listen 80; if ($host = a) { return 301 https://$host$request_uri; } root /x;", "all that"},
		{"certbot", "listen 80; if ($host = a) { return 301 https://$host$request_uri; } # managed by Certbot\n return 404;", "ok"},
		{"if serves", `listen 80; if ($arg_x) { return 200 x; } return 301 https://$host;`, "return 200 x"},
		{"if breaks", `listen 80; if ($arg_x) { break; } return 301 https://$host;`, "?"},
		{"an error that is a page", "listen 80; error_page 404 =200 @app; return 404; location @app { proxy_pass http://x; }", "?"},
		{"lua", "listen 80; server_rewrite_by_lua_file x.lua; return 301 https://$host;", "?"},
		{"lua in place", "listen 80; rewrite_by_lua_block { local s = '}' } return 301 https://$host;", "?"},
		{"a variable in listen", "listen $p; return 301 https://$host;", "?"},
		{"denied", "listen 80; location / { deny all; }", "ok"},
		{"denied to most", "listen 80; location / { allow 10.0.0.0/8; deny all; }", "?"},
		{"nested", "listen 80; location / { location /a { root /x; } return 301 https://$host; }", "ok"},
		{"nested, content", "listen 80; location / { location /a { root /x; } }", "location /a"},
		{"included", "include snip.conf;", "ok"},
		{"included in a circle", "include me.conf;", "?"},
		{"included, not there", "include none.conf;", "?"},
		{"a quotation without end", `listen 80; return 301 "https://`, "?"},
		{"no end", `listen 80; location / {`, "?"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := facttest.Image(t, map[string]string{
				"etc/nginx/nginx.conf":              "user www;\nevents { }\nhttp {\n include mime.types; include /etc/nginx/conf.d/*.conf;\n include /etc/nginx/sites-enabled/*;\n}\n",
				"etc/nginx/mime.types":              "types { text/html html; }",
				"etc/nginx/sites-available/default": "server {\n" + c.server + "\n}\n",
				"etc/nginx/sites-enabled/default":   facttest.Link("/etc/nginx/sites-available/default"),
				"etc/nginx/snip.conf":               "listen 80; return 301 https://$host;",
				"etc/nginx/me.conf":                 "include me.conf;",
			})
			check(t, nginx(context.Background(), h.Root), c.want)
		})
	}
}

func TestApache(t *testing.T) {
	for _, c := range []struct{ name, host, want string }{
		{"content", "DocumentRoot /var/www", "the content of the virtual host at /etc/apache2/sites-enabled/000.conf:1"},
		{"redirects", "ServerName a\nRedirect permanent / https://a/", "ok"},
		{"for a while", "Redirect / https://a/", "ok"},
		{"by its other name", "RedirectPermanent / https://a/", "ok"},
		{"one path", "Redirect /a https://a/", "the content"},
		{"to http", "Redirect / http://a/", "the content"},
		{"gone", "Redirect gone /", "ok"},
		{"by a pattern", `RedirectMatch 301 ^/(.*)$ https://a/$1`, "ok"},
		{"by a pattern for some", `RedirectMatch 301 ^/x https://a/`, "the content"},
		{"rewrite", "RewriteEngine On\nRewriteCond %{HTTPS} !=on\nRewriteRule ^/?(.*) https://%{SERVER_NAME}/$1 [R=301,L]", "ok"},
		{"challenges aside", "RewriteEngine On\nRewriteCond %{REQUEST_URI} !^/\\.well-known/acme-challenge/ [NC]\nRewriteRule ^ https://%{SERVER_NAME}%{REQUEST_URI} [R]", "ok"},
		{"engine off", "RewriteRule ^ https://a/ [R]", "the content"},
		{"some names", "RewriteEngine on\nRewriteCond %{SERVER_NAME} =a\nRewriteRule ^ https://a%{REQUEST_URI} [END,R=permanent]", "?"},
		{"one or the other", "RewriteEngine on\nRewriteCond %{HTTPS} off [OR]\nRewriteRule ^ https://a [R]", "?"},
		{"the condition is that of another rule", "RewriteEngine on\nRewriteCond %{HTTP_HOST} a\nRewriteRule ^/x$ - [F]\nRewriteRule ^ https://a [R]", "ok"},
		{"a rule before", "RewriteEngine on\nRewriteRule ^/api(.*) /var/api$1 [L]\nRewriteRule ^ https://a [R]", "?"},
		{"a proxy in disguise", "RewriteEngine on\nRewriteRule ^(.*)$ https://inside$1 [P]", "?"},
		{"passed on", "ProxyPass / http://127.0.0.1:3000/\nProxyPassReverse / http://127.0.0.1:3000/", "what ProxyPass"},
		{"passed on, but challenges", "ProxyPass /.well-known/acme-challenge !\nRedirect / https://a/", "ok"},
		{"passed on beside", "ProxyPass /api http://127.0.0.1:3000/\nRedirect / https://a/", "?"},
		{"in a section", "<Location />\nRedirect / https://a/\n</Location>", "?"},
		{"in a module that is loaded", "<IfModule mod_rewrite.c>\nRewriteEngine on\nRewriteRule ^ https://a [R]\n</IfModule>", "ok"},
		{"in a module that is not", "<IfModule mod_no.c>\nRedirect / https://a\n</IfModule>", "?"},
		{"by .htaccess perhaps", "<Directory /var/www>\nAllowOverride All\n</Directory>", "?"},
		{"continued", "Redirect \\\n permanent \\\n / https://a/", "ok"},
		{"TLS", "SSLEngine on", ""},
		{"a variable", "Redirect / ${target}", "?"},
		{"a macro", "Use x", "?"},
		{"a section without end", "<Directory />", "?"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := facttest.Image(t, map[string]string{
				"etc/apache2/apache2.conf":               "IncludeOptional mods-enabled/*.load\nInclude ports.conf\n<Directory />\n  AllowOverride None\n</Directory>\nIncludeOptional sites-enabled/*.conf\n",
				"etc/apache2/mods-enabled/rewrite.load":  "LoadModule rewrite_module /usr/lib/x.so\n",
				"etc/apache2/ports.conf":                 "Listen 80\n<IfModule ssl_module>\n\tListen 443\n</IfModule>\n",
				"etc/apache2/sites-available/000.conf":   "<VirtualHost *:80>\n" + c.host + "\n</VirtualHost>\n",
				"etc/apache2/sites-enabled/000.conf":     facttest.Link("../sites-available/000.conf"),
				"etc/apache2/sites-enabled/tls.conf":     "<VirtualHost *:443>\nSSLEngine on\n</VirtualHost>\n",
				"etc/apache2/sites-enabled/not-this.bak": "<VirtualHost *:80>\n",
			})
			rows := apache(context.Background(), h.Root)
			if c.want == "" { // the main server answers then
				check(t, rows, "the content of the main server")
				return
			}
			check(t, rows, c.want)
		})
	}
}

func TestApacheHosts(t *testing.T) {
	rows := func(conf string) []Server {
		return apache(context.Background(), facttest.Image(t, map[string]string{"etc/httpd/conf/httpd.conf": conf}).Root)
	}
	check(t, rows("Listen 8080\nListen 127.0.0.1:80\nListen 80 https\nDocumentRoot /x\n"), "")
	check(t, rows("Listen 80\nDocumentRoot /x\n"), "the content of the main server at /etc/httpd/conf/httpd.conf:1")
	check(t, rows("Listen 80\nRedirect / https://a/\n"), "ok")
	check(t, rows("Listen 80\n<IfDefine X>\n<VirtualHost *:80>\nRedirect / https://a/\n</VirtualHost>\n</IfDefine>\nRedirect / https://a/\n")[:1], "?")
	if r := rows("Listen 80\n<VirtualHost 10.0.0.1:80>\nRedirect / https://a/\n</VirtualHost>\n"); len(r) != 2 || len(r[1].Serves) != 1 {
		t.Errorf("the main server answers for other addresses: %+v", r)
	}
	check(t, rows("Listen ${p}\n"), "?")
}

// Who listens on port 80 is part of the answer, whoever it is.
func TestCollect(t *testing.T) {
	h := facttest.Image(t, map[string]string{"etc/nginx/nginx.conf": "http { server { listen 80; return 301 https://$host; } }"})
	l := func(exe string, foreign bool) sockets.Listener {
		return sockets.Listener{Proto: "tcp", Port: 80, Addr: "0.0.0.0", Exe: exe, ExeKnown: exe != "", ExeForeign: foreign, Netns: "host"}
	}
	a := Collect(context.Background(), h, facts.Answer[sockets.Listener]{Status: rules.OK, Rows: []sockets.Listener{
		l("/usr/sbin/nginx", false), l("/usr/bin/python3", false), l("/usr/sbin/nginx", true), l("", false), l("/usr/sbin/apache2", false),
		{Proto: "tcp", Port: 80, Loopback: true}, {Proto: "tcp", Port: 81}, {Proto: "udp", Port: 80}}})
	var got []string
	for _, s := range a.Rows {
		got = append(got, s.Key())
		if s.Understood != (s.Program == "nginx") || !s.Listening || !s.ListeningKnown {
			t.Errorf("%+v", s)
		}
	}
	const want = `/usr/bin/python3 "0.0.0.0:80", /usr/sbin/nginx "0.0.0.0:80", apache "port 80", nginx "/etc/nginx/nginx.conf:1", unknown "0.0.0.0:80"`
	if strings.Join(got, ", ") != want || a.Status != rules.OK {
		t.Errorf("%q %+v", got, a)
	}
	off := facts.OfflineAnswer[sockets.Listener]("x")
	if a := Collect(context.Background(), h, off); a.Status != rules.OK || len(a.Rows) != 1 || a.Rows[0].ListeningKnown {
		t.Errorf("%+v", a)
	}
	h.Live = true
	if a := Collect(context.Background(), h, facts.Answer[sockets.Listener]{Status: rules.Denied}); a.Status != rules.Denied {
		t.Errorf("%+v", a)
	}
}

func TestHostile(t *testing.T) {
	for _, name := range []string{"etc/nginx/nginx.conf", "etc/apache2/apache2.conf"} {
		a := Collect(context.Background(), facttest.Image(t, map[string]string{name: facttest.Fifo}), facts.Answer[sockets.Listener]{Status: rules.OK})
		if len(a.Rows) != 1 || a.Rows[0].Understood {
			t.Errorf("a FIFO: %+v", a)
		}
	}
	deep := strings.Repeat("a {", 100_000)
	check(t, nginx(context.Background(), facttest.Image(t, map[string]string{"etc/nginx/nginx.conf": deep}).Root), "?")
	double := strings.Repeat("include nginx.conf;\n", 100)
	check(t, nginx(context.Background(), facttest.Image(t, map[string]string{"etc/nginx/nginx.conf": double}).Root), "?")
}

func FuzzNginx(f *testing.F) {
	f.Add("http { server { listen 80; location / { return 301 \"https://x\"; } if ($a = \"\") { set $b c; } } }")
	f.Add("stream { server { listen 80; } } # x\nhttp { server_by_lua ${x} '\\''; }")
	f.Fuzz(func(t *testing.T, text string) {
		r := &reader{ctx: context.Background(), files: maxFiles}
		all, err := r.nginxFile("f", text, 0)
		for _, d := range all {
			for _, in := range d.block {
				nginxServer(in, nil)
			}
		}
		if err != nil && len(all) > 0 {
			t.Error("an error and an answer")
		}
	})
}

func FuzzApache(f *testing.F) {
	f.Add("Listen 80\n<VirtualHost *:80>\nRewriteEngine on\nRewriteRule \"^\" https://a [R]\n</VirtualHost>\n")
	f.Add("<IfModule !x>\n</IfModule>\nRedirect\n\\\n<")
	f.Fuzz(func(t *testing.T, text string) {
		h := &httpd{r: &reader{ctx: context.Background(), files: maxFiles}, modules: map[string]bool{}, main: &vhost{}}
		if err := h.file("f", text, &place{}, 0); err == nil {
			h.servers()
		}
	})
}
