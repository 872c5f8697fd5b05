package sshd

// Context is what counts for one kind of connection. Each option has a field
// under the name that sshd -T prints, what follows the name in "_at" is where it
// was said, as file:line, or "built in", and "_known" is false where the
// parser alone had to tell and could not. Lists are empty where nothing is set.
type Context struct {
	Label     string   `cel:"label"`     // stable name of the connection, for people and for drift
	User      string   `cel:"user"`      // who logs in
	Role      string   `cel:"role"`      // root, admin or other
	Origin    string   `cel:"origin"`    // loopback, local, external or match: an address that a Match block names
	Addr      string   `cel:"addr"`      // where the client is
	Host      string   `cel:"host"`      // its name; the address where nothing is known of one
	LocalAddr string   `cel:"laddr"`     // the address of this host where it arrives
	LocalPort int64    `cel:"lport"`     // the port there
	Match     []string `cel:"match"`     // Match lines that hold, as far as the parser can tell
	Spec      string   `cel:"spec"`      // what sshd -T -C was given, to ask again
	Disagrees []string `cel:"disagrees"` // options of which the parser said something else than sshd -T, which is believed

	PermitRootLogin      string `cel:"permitrootlogin"` // yes, prohibit-password, forced-commands-only or no
	PermitRootLoginAt    string `cel:"permitrootlogin_at"`
	PermitRootLoginKnown bool   `cel:"permitrootlogin_known"`

	PasswordAuthentication      bool   `cel:"passwordauthentication"`
	PasswordAuthenticationAt    string `cel:"passwordauthentication_at"`
	PasswordAuthenticationKnown bool   `cel:"passwordauthentication_known"`

	KbdInteractiveAuthentication      bool   `cel:"kbdinteractiveauthentication"`
	KbdInteractiveAuthenticationAt    string `cel:"kbdinteractiveauthentication_at"`
	KbdInteractiveAuthenticationKnown bool   `cel:"kbdinteractiveauthentication_known"`

	PubkeyAuthentication      bool   `cel:"pubkeyauthentication"`
	PubkeyAuthenticationAt    string `cel:"pubkeyauthentication_at"`
	PubkeyAuthenticationKnown bool   `cel:"pubkeyauthentication_known"`

	HostbasedAuthentication      bool   `cel:"hostbasedauthentication"`
	HostbasedAuthenticationAt    string `cel:"hostbasedauthentication_at"`
	HostbasedAuthenticationKnown bool   `cel:"hostbasedauthentication_known"`

	GSSAPIAuthentication      bool   `cel:"gssapiauthentication"`
	GSSAPIAuthenticationAt    string `cel:"gssapiauthentication_at"`
	GSSAPIAuthenticationKnown bool   `cel:"gssapiauthentication_known"`

	KerberosAuthentication      bool   `cel:"kerberosauthentication"`
	KerberosAuthenticationAt    string `cel:"kerberosauthentication_at"`
	KerberosAuthenticationKnown bool   `cel:"kerberosauthentication_known"`

	UsePAM      bool   `cel:"usepam"`
	UsePAMAt    string `cel:"usepam_at"`
	UsePAMKnown bool   `cel:"usepam_known"`

	PermitEmptyPasswords      bool   `cel:"permitemptypasswords"`
	PermitEmptyPasswordsAt    string `cel:"permitemptypasswords_at"`
	PermitEmptyPasswordsKnown bool   `cel:"permitemptypasswords_known"`

	AuthenticationMethods      []string `cel:"authenticationmethods"` // lists of methods, all of one list are needed; "any" alone
	AuthenticationMethodsAt    string   `cel:"authenticationmethods_at"`
	AuthenticationMethodsKnown bool     `cel:"authenticationmethods_known"`

	AllowUsers      []string `cel:"allowusers"`
	AllowUsersAt    string   `cel:"allowusers_at"`
	AllowUsersKnown bool     `cel:"allowusers_known"`

	DenyUsers      []string `cel:"denyusers"`
	DenyUsersAt    string   `cel:"denyusers_at"`
	DenyUsersKnown bool     `cel:"denyusers_known"`

	AllowGroups      []string `cel:"allowgroups"`
	AllowGroupsAt    string   `cel:"allowgroups_at"`
	AllowGroupsKnown bool     `cel:"allowgroups_known"`

	DenyGroups      []string `cel:"denygroups"`
	DenyGroupsAt    string   `cel:"denygroups_at"`
	DenyGroupsKnown bool     `cel:"denygroups_known"`

	AuthorizedKeysFile      []string `cel:"authorizedkeysfile"`
	AuthorizedKeysFileAt    string   `cel:"authorizedkeysfile_at"`
	AuthorizedKeysFileKnown bool     `cel:"authorizedkeysfile_known"`

	AuthorizedKeysCommand      string `cel:"authorizedkeyscommand"`
	AuthorizedKeysCommandAt    string `cel:"authorizedkeyscommand_at"`
	AuthorizedKeysCommandKnown bool   `cel:"authorizedkeyscommand_known"`

	AuthorizedPrincipalsFile      string `cel:"authorizedprincipalsfile"`
	AuthorizedPrincipalsFileAt    string `cel:"authorizedprincipalsfile_at"`
	AuthorizedPrincipalsFileKnown bool   `cel:"authorizedprincipalsfile_known"`

	TrustedUserCAKeys      string `cel:"trustedusercakeys"`
	TrustedUserCAKeysAt    string `cel:"trustedusercakeys_at"`
	TrustedUserCAKeysKnown bool   `cel:"trustedusercakeys_known"`

	RevokedKeys      string `cel:"revokedkeys"`
	RevokedKeysAt    string `cel:"revokedkeys_at"`
	RevokedKeysKnown bool   `cel:"revokedkeys_known"`

	Ciphers      []string `cel:"ciphers"` // in order of preference
	CiphersAt    string   `cel:"ciphers_at"`
	CiphersKnown bool     `cel:"ciphers_known"`

	KexAlgorithms      []string `cel:"kexalgorithms"`
	KexAlgorithmsAt    string   `cel:"kexalgorithms_at"`
	KexAlgorithmsKnown bool     `cel:"kexalgorithms_known"`

	MACs      []string `cel:"macs"`
	MACsAt    string   `cel:"macs_at"`
	MACsKnown bool     `cel:"macs_known"`

	HostKeyAlgorithms      []string `cel:"hostkeyalgorithms"`
	HostKeyAlgorithmsAt    string   `cel:"hostkeyalgorithms_at"`
	HostKeyAlgorithmsKnown bool     `cel:"hostkeyalgorithms_known"`

	PubkeyAcceptedAlgorithms      []string `cel:"pubkeyacceptedalgorithms"`
	PubkeyAcceptedAlgorithmsAt    string   `cel:"pubkeyacceptedalgorithms_at"`
	PubkeyAcceptedAlgorithmsKnown bool     `cel:"pubkeyacceptedalgorithms_known"`

	CASignatureAlgorithms      []string `cel:"casignaturealgorithms"`
	CASignatureAlgorithmsAt    string   `cel:"casignaturealgorithms_at"`
	CASignatureAlgorithmsKnown bool     `cel:"casignaturealgorithms_known"`

	RequiredRSASize      int64  `cel:"requiredrsasize"` // bits
	RequiredRSASizeAt    string `cel:"requiredrsasize_at"`
	RequiredRSASizeKnown bool   `cel:"requiredrsasize_known"`

	MaxAuthTries      int64  `cel:"maxauthtries"`
	MaxAuthTriesAt    string `cel:"maxauthtries_at"`
	MaxAuthTriesKnown bool   `cel:"maxauthtries_known"`

	MaxSessions      int64  `cel:"maxsessions"`
	MaxSessionsAt    string `cel:"maxsessions_at"`
	MaxSessionsKnown bool   `cel:"maxsessions_known"`

	LoginGraceTime      int64  `cel:"logingracetime"` // seconds, 0: for ever
	LoginGraceTimeAt    string `cel:"logingracetime_at"`
	LoginGraceTimeKnown bool   `cel:"logingracetime_known"`

	MaxStartups      string `cel:"maxstartups"` // begin:rate:full
	MaxStartupsAt    string `cel:"maxstartups_at"`
	MaxStartupsKnown bool   `cel:"maxstartups_known"`

	PerSourceMaxStartups      string `cel:"persourcemaxstartups"` // a number or none
	PerSourceMaxStartupsAt    string `cel:"persourcemaxstartups_at"`
	PerSourceMaxStartupsKnown bool   `cel:"persourcemaxstartups_known"`

	PerSourcePenalties      []string `cel:"persourcepenalties"` // from 9.8 on
	PerSourcePenaltiesAt    string   `cel:"persourcepenalties_at"`
	PerSourcePenaltiesKnown bool     `cel:"persourcepenalties_known"`

	ClientAliveInterval      int64  `cel:"clientaliveinterval"` // seconds, 0: never
	ClientAliveIntervalAt    string `cel:"clientaliveinterval_at"`
	ClientAliveIntervalKnown bool   `cel:"clientaliveinterval_known"`

	ClientAliveCountMax      int64  `cel:"clientalivecountmax"`
	ClientAliveCountMaxAt    string `cel:"clientalivecountmax_at"`
	ClientAliveCountMaxKnown bool   `cel:"clientalivecountmax_known"`

	X11Forwarding      bool   `cel:"x11forwarding"`
	X11ForwardingAt    string `cel:"x11forwarding_at"`
	X11ForwardingKnown bool   `cel:"x11forwarding_known"`

	AllowTCPForwarding      string `cel:"allowtcpforwarding"` // yes, no, local or remote
	AllowTCPForwardingAt    string `cel:"allowtcpforwarding_at"`
	AllowTCPForwardingKnown bool   `cel:"allowtcpforwarding_known"`

	AllowStreamLocalForwarding      string `cel:"allowstreamlocalforwarding"` // yes, no, local or remote
	AllowStreamLocalForwardingAt    string `cel:"allowstreamlocalforwarding_at"`
	AllowStreamLocalForwardingKnown bool   `cel:"allowstreamlocalforwarding_known"`

	AllowAgentForwarding      bool   `cel:"allowagentforwarding"`
	AllowAgentForwardingAt    string `cel:"allowagentforwarding_at"`
	AllowAgentForwardingKnown bool   `cel:"allowagentforwarding_known"`

	PermitTunnel      string `cel:"permittunnel"` // yes, no, point-to-point or ethernet
	PermitTunnelAt    string `cel:"permittunnel_at"`
	PermitTunnelKnown bool   `cel:"permittunnel_known"`

	GatewayPorts      string `cel:"gatewayports"` // yes, no or clientspecified
	GatewayPortsAt    string `cel:"gatewayports_at"`
	GatewayPortsKnown bool   `cel:"gatewayports_known"`

	DisableForwarding      bool   `cel:"disableforwarding"`
	DisableForwardingAt    string `cel:"disableforwarding_at"`
	DisableForwardingKnown bool   `cel:"disableforwarding_known"`

	PermitOpen      []string `cel:"permitopen"`
	PermitOpenAt    string   `cel:"permitopen_at"`
	PermitOpenKnown bool     `cel:"permitopen_known"`

	PermitListen      []string `cel:"permitlisten"`
	PermitListenAt    string   `cel:"permitlisten_at"`
	PermitListenKnown bool     `cel:"permitlisten_known"`

	IgnoreRhosts      string `cel:"ignorerhosts"` // yes, no or shosts-only
	IgnoreRhostsAt    string `cel:"ignorerhosts_at"`
	IgnoreRhostsKnown bool   `cel:"ignorerhosts_known"`

	PermitUserEnvironment      string `cel:"permituserenvironment"` // yes, no or patterns of names
	PermitUserEnvironmentAt    string `cel:"permituserenvironment_at"`
	PermitUserEnvironmentKnown bool   `cel:"permituserenvironment_known"`

	PermitUserRC      bool   `cel:"permituserrc"`
	PermitUserRCAt    string `cel:"permituserrc_at"`
	PermitUserRCKnown bool   `cel:"permituserrc_known"`

	AcceptEnv      []string `cel:"acceptenv"`
	AcceptEnvAt    string   `cel:"acceptenv_at"`
	AcceptEnvKnown bool     `cel:"acceptenv_known"`

	ForceCommand      string `cel:"forcecommand"`
	ForceCommandAt    string `cel:"forcecommand_at"`
	ForceCommandKnown bool   `cel:"forcecommand_known"`

	ChrootDirectory      string `cel:"chrootdirectory"`
	ChrootDirectoryAt    string `cel:"chrootdirectory_at"`
	ChrootDirectoryKnown bool   `cel:"chrootdirectory_known"`

	Subsystem      []string `cel:"subsystem"`
	SubsystemAt    string   `cel:"subsystem_at"`
	SubsystemKnown bool     `cel:"subsystem_known"`

	StrictModes      bool   `cel:"strictmodes"`
	StrictModesAt    string `cel:"strictmodes_at"`
	StrictModesKnown bool   `cel:"strictmodes_known"`

	UseDNS      bool   `cel:"usedns"`
	UseDNSAt    string `cel:"usedns_at"`
	UseDNSKnown bool   `cel:"usedns_known"`

	LogLevel      string `cel:"loglevel"`
	LogLevelAt    string `cel:"loglevel_at"`
	LogLevelKnown bool   `cel:"loglevel_known"`

	Banner      string `cel:"banner"`
	BannerAt    string `cel:"banner_at"`
	BannerKnown bool   `cel:"banner_known"`

	Ports      []int64 `cel:"ports"`
	PortsAt    string  `cel:"ports_at"`
	PortsKnown bool    `cel:"ports_known"`

	ListenAddresses      []string `cel:"listenaddresses"` // address:port
	ListenAddressesAt    string   `cel:"listenaddresses_at"`
	ListenAddressesKnown bool     `cel:"listenaddresses_known"`

	HostKeys      []string `cel:"hostkeys"`
	HostKeysAt    string   `cel:"hostkeys_at"`
	HostKeysKnown bool     `cel:"hostkeys_known"`

	// MaxStartups in numbers: unauthenticated connections from which on some are
	// refused, how many of a hundred, and from which on all are.
	MaxStartupsBegin int64 `cel:"maxstartups_begin"`
	MaxStartupsRate  int64 `cel:"maxstartups_rate"`
	MaxStartupsFull  int64 `cel:"maxstartups_full"`

	values map[string][]string // all options, for drift
}
