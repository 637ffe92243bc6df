"""Code that all folders share: arguments, errors, files, images, run folders, progress, parallel work, this machine."""
