// PM2: `pm2 start ecosystem.config.js`. TOCSIN_BIN says where the executables are,
// TOCSIN_CONFIG which KEY=value file configures them all.
const bin = process.env.TOCSIN_BIN || '/usr/local/bin';
const config = process.env.TOCSIN_CONFIG || '/etc/tocsin/tocsin.conf';

const executables = ['scheduler', 'worker-calendar', 'worker-escalation', 'worker-cleanup', 'gateway'];

module.exports = {
    apps: executables.map((name) => ({
        name: `tocsin-${name}`,
        script: `${bin}/${name}`,
        args: ['--config', config],
        // Each has a database role of its own; counts where the address names no user.
        env: { PGUSER: `tocsin_${name.replace(/-/g, '_')}` },
        interpreter: 'none',
        exec_mode: 'fork',
        // Any number of each may run: raise it, nothing else needs to know.
        instances: 1,
        autorestart: true,
        // 0 is "nothing is enabled", 78 a configuration that another start would not mend.
        stop_exit_codes: [0, 78],
        exp_backoff_restart_delay: 200,
        // Above TOCSIN_DRAIN_TIMEOUT: SIGINT drains, SIGKILL comes after this.
        kill_timeout: 25000,
        time: false,
    })),
};
