#!/bin/bash
# vmrun.sh - run one command as root on a stock Debian kernel in QEMU, over a throw-away overlay of this machine's /.
#
#   usage: vmrun.sh [--] CMD [ARG...]     stdin is /dev/null; stdout and stderr stay apart; there is no network card
#   exit:  CMD's own status
#          77   cannot run here (a reason to skip, not to fail)
#          124  CMD took longer than VM_TIMEOUT
#          125  the machine broke: the kernel panicked or ended without a status
#
#   VM_KERNEL_PKG=linux-image-amd64   the Debian package with the kernel
#   VM_CACHE=DIR                      for unpacked packages, about 500 MiB a kernel (default ~/.cache/zdocker-vm)
#   VM_MEM=512  VM_CPUS=2             MiB of memory, processors
#   VM_TIMEOUT=300                    seconds
#   VM_ACCEL=auto|kvm|tcg             hardware virtualisation or emulation; VM_REQUIRE_KVM=1 skips rather than emulate
#   VM_RW=DIR                         a folder of this machine that CMD may write to, at the same path
#   VM_MODULES="tun ..."              kernel modules to load first
#   VM_VERBOSE=1                      the kernel's console on stderr
#
# How it works: the kernel and busybox come from Debian packages that are unpacked, not installed. A small initramfs
# mounts this machine's / read-only through 9p, lays a tmpfs over it and runs CMD there with this environment and in
# this folder. Output travels through two virtio ports, the status through a file in a 9p share.
set -euo pipefail

PKG=${VM_KERNEL_PKG:-linux-image-amd64}
MEM=${VM_MEM:-512} CPUS=${VM_CPUS:-2} LIMIT=${VM_TIMEOUT:-300} ACCEL=${VM_ACCEL:-auto}
CACHE=${VM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/zdocker-vm}

skip() { echo "vmrun: SKIP: $*" >&2; exit 77; }

choose_accelerator() {
  # A /dev/kvm that opens and even creates machines may be of no use: without vmx or svm (kvm_pvm) QEMU aborts, or the
  # stock kernel says nothing for half a minute. Only hardware virtualisation counts.
  if [ "$ACCEL" = auto ]; then
    ACCEL=tcg
    if [ -w /dev/kvm ] && grep -qwE 'vmx|svm' /proc/cpuinfo && [ ! -d /sys/module/kvm_pvm ]; then ACCEL=kvm; fi
  fi
  [ "$ACCEL" = kvm ] || [ -z "${VM_REQUIRE_KVM:-}" ] || skip "no usable KVM (no vmx or svm)"
}

# Downloads and unpacks a Debian package once, and prints the folder it is in.
unpacked() { # PACKAGE
  local deb dir
  mkdir -p "$CACHE/debs"
  deb=$(ls -t "$CACHE/debs/$1"_*.deb 2>/dev/null | head -1) || true
  if [ -z "$deb" ]; then
    (cd "$CACHE/debs" && apt-get -qq download "$1") >&2 2>/dev/null || skip "apt-get download $1 failed"
    deb=$(ls -t "$CACHE/debs/$1"_*.deb | head -1)
  fi
  dir=$CACHE/$(basename "$deb" .deb)
  [ -d "$dir" ] || { rm -rf "$dir.tmp"; dpkg-deb -x "$deb" "$dir.tmp"; mv -T "$dir.tmp" "$dir"; }
  printf '%s\n' "$dir"
}

# The package that a metapackage such as linux-image-amd64 stands for; remembered, so that later runs are offline.
real_kernel_package() {
  local real
  real=$(cat "$CACHE/$PKG.real" 2>/dev/null) ||
    real=$(apt-cache depends "$PKG" 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-.*\)/\1/p' | head -1)
  printf '%s\n' "${real:-$PKG}" | tee "$CACHE/$PKG.real"
}

prepare_kernel() { # sets BUSYBOX, KERNEL_VERSION, MODULES
  local dir
  dir=$(unpacked "$(real_kernel_package)")
  BUSYBOX=$(unpacked busybox-static)/bin/busybox
  BZIMAGE=$(echo "$dir"/boot/vmlinuz-*)
  KERNEL_VERSION=${BZIMAGE##*/vmlinuz-}
  MODULES=$dir/lib/modules/$KERNEL_VERSION
  [ ! -e "$MODULES/.ready" ] || return 0
  # Newer kernels have .ko.xz modules; plain ones load with any modprobe.
  find "$MODULES" -name '*.ko.xz' -print0 | xargs -0r -P"$(nproc)" -n64 xz -d
  sed -i 's/\.ko\.xz$/.ko/' "$MODULES/modules.order"
  "$BUSYBOX" depmod -b "$dir" "$KERNEL_VERSION"
  touch "$MODULES/.ready"
}

# Takes the uncompressed kernel out of the bzImage, which saves an emulated machine 2 to 3 s of decompression. Where the
# payload lies: Documentation/arch/x86/boot.rst, setup_sects at 0x1f1, payload_offset at 0x248, payload_length at 0x24c.
prepare_image() { # sets IMAGE
  IMAGE=$CACHE/vmlinux-$KERNEL_VERSION
  [ ! -s "$IMAGE" ] || return 0
  local unpack
  number() { od -An -tu"$2" -j$(($1)) -N"$2" "$BZIMAGE" | tr -d ' '; }
  tail -c +$(( ($(number 0x1f1 1) + 1) * 512 + $(number 0x248 4) + 1 )) "$BZIMAGE" |
    head -c "$(number 0x24c 4)" >"$IMAGE.packed" || true
  case $(od -An -tx1 -N4 "$IMAGE.packed" | tr -d ' ') in
    fd377a58) unpack="xz -dc --single-stream" ;;
    28b52ffd) unpack="zstd -dcq" ;;
    *) unpack=false ;;
  esac
  # The payload ends with its unpacked size, which zstd takes for garbage after having unpacked everything.
  $unpack <"$IMAGE.packed" >"$IMAGE.tmp" 2>/dev/null || true
  if [ "$(head -c 4 "$IMAGE.tmp" | tail -c 3)" = ELF ]; then mv "$IMAGE.tmp" "$IMAGE"; else cp "$BZIMAGE" "$IMAGE"; fi
  rm -f "$IMAGE.packed" "$IMAGE.tmp"
}

# A module's file and the files it needs, in the order of loading.
module_files() { # MODULE
  local line
  line=$(grep -E "(^|/)$1\.ko:" "$MODULES/modules.dep") || return 0
  { echo "${line#*:}" | tr ' ' '\n' | tac; echo "${line%%:*}"; } | sed '/^$/d'
}

prepare_initramfs() { # sets INITRAMFS
  INITRAMFS=$CACHE/initrd-$KERNEL_VERSION-$(md5sum <"$0" | cut -c1-8).cpio
  [ ! -s "$INITRAMFS" ] || return 0
  local top file module number=100
  top=$(mktemp -d "$CACHE/initrd.XXXXXX")
  mkdir -p "$top"/{bin,m,proc,sys,dev,host,rw,new}
  cp "$BUSYBOX" "$top/bin/busybox"
  for file in $(for module in virtio_pci 9pnet_virtio 9p virtio_console overlay; do module_files $module; done |
    awk '!seen[$0]++'); do
    cp "$MODULES/$file" "$top/m/$number-${file##*/}"
    number=$((number + 1))
  done
  write_init >"$top/init"
  chmod +x "$top/init"
  mknod "$top/dev/console" c 5 1
  (cd "$top" && "$BUSYBOX" find . | "$BUSYBOX" cpio -o -H newc 2>/dev/null) >"$INITRAMFS.tmp"
  mv "$INITRAMFS.tmp" "$INITRAMFS"
  rm -rf "$top"
}

# The guest's first program: makes its / out of this machine's and hands over to stage2.
write_init() {
  cat <<'INIT'
#!/bin/busybox sh
B=/bin/busybox N=/new O=trans=virtio,version=9p2000.L,msize=512000
die() { echo "vmrun-init: $*" >/dev/console; $B poweroff -f; }
$B mount -t proc proc /proc; $B mount -t sysfs sys /sys; $B mount -t devtmpfs dev /dev
arg() { for a in $($B cat /proc/cmdline); do case $a in vm.$1=*) echo "${a#*=}"; return;; esac; done; }
mods=$(arg mods) rw=$(arg rw) K=$($B uname -r)
for f in /m/*; do $B insmod $f || die "insmod $f"; done
$B mount -t 9p -o ro,cache=loose,$O hostroot /host || die "no 9p root"
$B mount -t tmpfs -o mode=755 rw /rw; $B mkdir /rw/up /rw/work
$B mount -t overlay -o lowerdir=/host,upperdir=/rw/up,workdir=/rw/work,xino=off overlay $N || die "no overlay"
for d in proc sys dev; do $B mount --move /$d $N/$d; done
for d in run var/tmp dev/shm; do $B mkdir -p $N/$d; $B mount -t tmpfs -o mode=1777 tmpfs $N/$d; done
$B mkdir -p $N/dev/pts $N/run/vm $N/lib/modules/$K
$B mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts $N/dev/pts
$B ln -s /proc/self/fd $N/dev/fd; for n in 0:stdin 1:stdout 2:stderr; do $B ln -s fd/${n%:*} $N/dev/${n#*:}; done
$B mount -t cgroup2 cgroup2 $N/sys/fs/cgroup
for c in $($B cat $N/sys/fs/cgroup/cgroup.controllers); do echo +$c >$N/sys/fs/cgroup/cgroup.subtree_control; done
$B mount -t tracefs t $N/sys/kernel/tracing; $B mount -t bpf bpf $N/sys/fs/bpf
$B mount --bind /host$mods $N/lib/modules/$K || die "no modules"
$B mount -t 9p -o rw,cache=none,$O ctl $N/run/vm || die "no ctl share"
[ -z "$rw" ] || { $B mkdir -p $N$rw; $B mount -t 9p -o rw,cache=mmap,$O rwdir $N$rw || die "no rw share"; }
# For machines without kmod: the kernel loads modules by calling /sbin/modprobe.
$B cp /bin/busybox $N/run/busybox
for a in modprobe insmod rmmod lsmod; do [ -e $N/usr/sbin/$a ] || $B ln -s /run/busybox $N/usr/sbin/$a; done
exec $B switch_root $N /run/busybox sh /run/vm/stage2
INIT
}

# The guest's second program: runs the command with its output on the two ports, and stops the machine.
write_stage2() {
  cat <<STAGE2
B=/run/busybox; \$B mount --make-rshared /; \$B hostname vm; \$B ip link set lo up
port() { for x in /sys/class/virtio-ports/*; do [ "\$(\$B cat \$x/name)" = \$1 ] && echo /dev/\${x##*/}; done; }
o=\$(port out) e=\$(port err)
for m in ${VM_MODULES:-}; do /sbin/modprobe \$m 2>\$e || echo "vmrun: modprobe \$m failed" >\$e; done
/bin/bash /run/vm/cmd </dev/null >\$o 2>\$e; echo \$? >/run/vm/rc
\$B poweroff -f
STAGE2
}

# The command with this environment and folder, as a script.
write_command() { # CMD [ARG...]
  export -p | grep -vE '^declare -x (VM_[A-Z_]*|TMPDIR|OLDPWD|PWD|SHLVL)='
  printf 'cd %q || exit 125\nexec' "$PWD"
  printf ' %q' "$@"
  echo
}

cleanup() {
  [ -z "$QEMU_PID" ] || { kill "$QEMU_PID"; wait "$QEMU_PID"; } 2>/dev/null || true
  rm -rf "$WORK"
}

run_machine() { # CMD [ARG...]
  local accel share=() log console=quiet out_pid err_pid rc=0
  write_command "$@" >"$WORK/ctl/cmd"
  write_stage2 >"$WORK/ctl/stage2"
  log=$WORK/console
  if [ -n "${VM_VERBOSE:-}" ]; then log=/dev/fd/4 console=; fi
  case $ACCEL in
    kvm) accel=(-accel kvm -cpu host) ;;
    *) accel=(-accel "tcg,thread=multi" -cpu max,la57=off) ;;
  esac
  [ -z "${VM_RW:-}" ] ||
    share=(-virtfs "local,path=$VM_RW,mount_tag=rwdir,security_model=passthrough,multidevs=remap")
  # QEMU truncates the files it opens for output: it is given pipes, never the caller's own stdout.
  mkfifo "$WORK/out" "$WORK/err"
  cat "$WORK/out" & out_pid=$!
  cat "$WORK/err" >&2 & err_pid=$!
  timeout -k 5 "$LIMIT" "$QEMU" -M q35 "${accel[@]}" -m "$MEM" -smp "$CPUS" \
    -nodefaults -no-user-config -display none -nic none -no-reboot \
    -kernel "$IMAGE" -initrd "$INITRAMFS" -append "console=ttyS0 $console panic=-1 oops=panic mitigations=off \
      random.trust_cpu=on tsc=reliable no_timer_check cgroup_no_v1=all net.ifnames=0 apparmor=0 \
      vm.mods=$MODULES vm.rw=${VM_RW:-}" \
    -device virtio-rng-pci -chardev "file,id=con,path=$log" -serial chardev:con -device virtio-serial-pci \
    -chardev file,id=out,path=/dev/fd/3 -device virtserialport,chardev=out,name=out \
    -chardev file,id=err,path=/dev/fd/4 -device virtserialport,chardev=err,name=err \
    -virtfs local,path=/,mount_tag=hostroot,security_model=none,readonly=on,multidevs=remap \
    -virtfs "local,path=$WORK/ctl,mount_tag=ctl,security_model=none,multidevs=remap" "${share[@]}" \
    </dev/null 3>"$WORK/out" 4>"$WORK/err" >"$WORK/qemu.log" 2>&1 9>&- &
  QEMU_PID=$!
  wait "$QEMU_PID" || rc=$?
  QEMU_PID=
  wait "$out_pid" "$err_pid" || true
  [ ! -s "$WORK/ctl/rc" ] || return "$(cat "$WORK/ctl/rc")"
  tail -n 40 "$WORK/console" "$WORK/qemu.log" >&2 2>/dev/null || true
  if [ $rc = 124 ] || [ $rc = 137 ]; then echo "vmrun: nothing after $LIMIT s (accel $ACCEL)" >&2; return 124; fi
  echo "vmrun: the machine ended without a status (accel $ACCEL, qemu rc $rc)" >&2
  return 125
}

[ "${1:-}" != -- ] || shift
[ $# -gt 0 ] || { echo "usage: $0 [--] CMD [ARG...]" >&2; exit 2; }
[ "$(id -u)" = 0 ] || skip "needs root (the guest reads / through this QEMU)"
QEMU=$(command -v qemu-system-x86_64) ||
  skip "no qemu-system-x86_64 (apt-get install --no-install-recommends qemu-system-x86)"
choose_accelerator

mkdir -p "$CACHE"
exec 9>"$CACHE/.lock"
flock 9 # one at a time prepares the cache
prepare_kernel
prepare_image
prepare_initramfs
flock -u 9

WORK=$(mktemp -d "${TMPDIR:-/tmp}/vmrun.XXXXXX") QEMU_PID=
mkdir "$WORK/ctl"
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
status=0
run_machine "$@" || status=$?
exit $status
