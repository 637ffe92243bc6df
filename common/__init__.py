"""What every folder uses and none owns: errors, files, run folders, progress, parallel work, this machine."""
